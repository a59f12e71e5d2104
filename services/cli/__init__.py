"""The `zepid` command."""
