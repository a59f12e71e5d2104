"""Places that serve releases."""

from collections.abc import Mapping

from shared.contracts.errors import ZepidError
from shared.ports import Objects, Pointers, Publisher
from shared.settings import Settings


def publishers(settings: Settings, objects: Objects, pointers: Pointers) -> dict[str, Publisher]:
    """Return the publisher of every target that the settings allow.

    Args:
        settings: what there is.
        objects: the bucket with the blobs of releases.
        pointers: what places that keep copies are to serve.
    """
    if settings.publisher == "noop":
        from shared.adapters.publishers.noop import NoopPublisher

        return {"local": NoopPublisher()}
    from shared.adapters.publishers.local import LocalPublisher

    found: dict[str, Publisher] = {"local": LocalPublisher(settings)}
    if "cloudflare" in settings.targets:
        from shared.adapters.publishers.cloudflare.publisher import CloudflarePublisher

        found["cloudflare"] = CloudflarePublisher(settings, objects, pointers)
    return found


def publisher_of(publishers: Mapping[str, Publisher], target: str) -> Publisher:
    """Return the publisher of a target; raises PUBLISH_TARGET_MISSING where the settings do not allow it any more."""
    if target not in publishers:
        raise ZepidError(
            "PUBLISH_TARGET_MISSING", f"The target {target} is not set up here; there is: {', '.join(publishers)}"
        )
    return publishers[target]
