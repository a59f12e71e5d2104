"""Sandbox providers: isolated places for untrusted code, behind `shared.ports.Sandboxes`."""

from shared.ports import Sandboxes
from shared.settings import Settings


def open_sandboxes(settings: Settings) -> Sandboxes:
    """Return the provider that SANDBOX_BUILDER_DEFAULT_PROVIDER names."""
    if settings.sandbox_builder_default_provider == "noop":
        from shared.adapters.sandboxes.noop import NoopSandboxes

        return NoopSandboxes()
    from shared.adapters.sandboxes.local.limits import Limits
    from shared.adapters.sandboxes.local.provider import LocalSandboxes

    limits = Limits(settings.sandbox_memory << 20, settings.sandbox_threads)
    return LocalSandboxes(settings.data_path, settings.sandbox_networks, limits)
