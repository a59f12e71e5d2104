"""Back to a kept release: the pointer has moved, now the place that serves the site follows and is looked at."""

from collections.abc import Mapping

from shared.adapters.postgres.releases import Releases, Rollback
from shared.adapters.publishers import publisher_of
from shared.contracts.errors import ZepidError
from shared.ports import Publisher
from shared.telemetry import log


async def see_through(releases: Releases, publishers: Mapping[str, Publisher], rollback: Rollback) -> None:
    """Make what the pointer names be served, see it live, and confirm it; repeating this changes nothing.

    Raises:
        ZepidError: POINTER_MOVED, somebody switched the site meanwhile; RELEASE_PROBE_FAILED or PUBLISH_…, it was
            not seen live, and the pointer is back where it was.
    """
    try:
        publisher = publisher_of(publishers, rollback.target)
        await publisher.publish(rollback.site, rollback.to_release_id)
        await publisher.probe(publisher.public_url(rollback.site), rollback.to_release_id)
    except ZepidError as error:
        raise await _put_back(releases, publishers, rollback, error) from error
    await releases.settle(rollback.id, None)
    log.info("rolled back", site=rollback.site, release=rollback.to_release_id, before=rollback.from_release_id)


async def _put_back(
    releases: Releases, publishers: Mapping[str, Publisher], rollback: Rollback, error: ZepidError
) -> ZepidError:
    settled = await releases.settle(rollback.id, error.message)
    log.warning("rollback failed", site=rollback.site, release=rollback.to_release_id, settled=settled)
    if settled == "overtaken":
        message = f"{rollback.site} was switched by somebody else while it went back to {rollback.to_release_id}"
        return ZepidError("POINTER_MOVED", message)
    if rollback.from_release_id and (publisher := publishers.get(rollback.target)):
        await publisher.publish(rollback.site, rollback.from_release_id)
    return ZepidError(error.code.name, f"{error.message}; the site is as it was before")
