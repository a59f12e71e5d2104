"""The addresses of sites and releases: written by the publisher, read by the edge.

A site answers at its name in the pattern (`http://{site}.localhost:3080`). A release answers at its
id in front of the site's name, `rel-4f1c….my-app.localhost`: two labels, because both together may
be longer than the 63 characters of one. Ids and names are lower case, without dots.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

LOCAL_SUFFIX = ".localhost"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses after one pattern with `{site}` in it (`Settings.edge_url`)."""

    pattern: str

    def of_site(self, site: str) -> str:
        """The public address of a site."""
        return self.pattern.replace("{site}", site).rstrip("/") + "/"

    def of_release(self, site: str, release: str) -> str:
        """The address of one release."""
        return self.of_site(f"{release.replace('_', '-', 1)}.{site}")

    def site_of(self, url: str) -> str | None:
        """Return the site whose public address this is, or None."""
        before, _, after = self.pattern.partition("{site}")
        shape = f"{re.escape(before)}([A-Za-z0-9-]+){re.escape(after.rstrip('/'))}(?:/.*)?"
        found = re.fullmatch(shape, url)
        return found[1] if found else None

    def host_of_site(self, site: str) -> str:
        """The host of a site's public address."""
        return urlsplit(self.of_site(site)).hostname or ""

    def of_domain(self, hostname: str) -> str:
        """The address of a custom domain: reached as sites are, by the same scheme and port."""
        address = urlsplit(self.of_site("site"))
        return f"{address.scheme}://{hostname}{f':{address.port}' if address.port else ''}/"

    def suffixes(self) -> tuple[str, ...]:
        """How the host names of sites end; `.localhost` always does."""
        ending = urlsplit(self.pattern).netloc.lower().partition("{site}")[2].partition(":")[0]
        return (ending, LOCAL_SUFFIX) if ending not in ("", LOCAL_SUFFIX) else (LOCAL_SUFFIX,)


def parse_name(name: str) -> tuple[str, str | None]:
    """Read `my-app` or `rel-4f1c….my-app` as a site and, in the second case, a release of it."""
    label, dot, site = name.rpartition(".")
    return site, label.replace("-", "_", 1) if dot else None
