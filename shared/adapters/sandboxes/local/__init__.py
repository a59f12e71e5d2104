"""Sandboxes on this host: bubblewrap, an overlay over the written source, node from a wheel."""

from shared.adapters.sandboxes.local.provider import LocalSandboxes

__all__ = ["LocalSandboxes"]
