"""The sync step."""
