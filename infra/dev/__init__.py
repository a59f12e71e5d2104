"""The embedded stack: NATS, PostgreSQL and an object folder on this host, out of wheels."""
