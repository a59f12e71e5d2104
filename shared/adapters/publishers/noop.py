"""A publisher that serves nothing, for measuring the pipeline alone."""

from shared.adapters.publishers.addresses import Addresses


class NoopPublisher:
    """Makes addresses up; every probe succeeds at once."""

    def __init__(self, pattern: str = "http://{site}.invalid") -> None:
        self._addresses = Addresses(pattern)

    def public_url(self, site: str) -> str:
        """The address a site would have."""
        return self._addresses.of_site(site)

    def release_url(self, site: str, release: str) -> str:
        """The address a release would have."""
        return self._addresses.of_release(site, release)

    async def prepare_workers(self) -> None:
        """Do nothing: nothing is run."""

    async def publish(self, site: str, release: str) -> None:
        """Do nothing."""

    async def probe(self, url: str, release: str) -> None:
        """Believe it."""
