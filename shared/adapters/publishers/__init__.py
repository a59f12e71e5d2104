"""Places that serve releases."""

from shared.ports import Publisher
from shared.settings import Settings


def publishers(settings: Settings) -> dict[str, Publisher]:
    """Return the publisher of every target that the settings allow."""
    if settings.publisher == "noop":
        from shared.adapters.publishers.noop import NoopPublisher

        return {"local": NoopPublisher()}
    from shared.adapters.publishers.local import LocalPublisher

    return {"local": LocalPublisher(settings)}
