"""The services: each folder is one process, `python -m services.<name>`."""
