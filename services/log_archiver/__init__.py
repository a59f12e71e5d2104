"""The log archiver: moves finished logs from the stream to whole files in the object store."""

from services.log_archiver.archiver import create

__all__ = ["create"]
