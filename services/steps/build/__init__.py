"""The build step: from the synced source to an artifact of content-addressed blobs."""
