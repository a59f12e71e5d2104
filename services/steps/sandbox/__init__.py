"""The sandbox step."""
