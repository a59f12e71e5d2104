"""What the ports are made of: broker, database, object store, sandboxes, publishers."""
