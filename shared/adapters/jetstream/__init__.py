"""NATS JetStream: the streams and consumers, and everything that is published or read there."""
