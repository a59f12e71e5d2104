"""What a page of HTML shows and needs, as far as a probe can tell without a browser."""

from html.parser import HTMLParser
from urllib.parse import urljoin

MOST_REFERENCES = 100
"""Scripts and style sheets of one page that are looked at."""

_SHOWING = frozenset(
    {
        *("script", "img", "svg", "picture", "video", "audio", "canvas", "iframe", "object", "embed", "input", "hr"),
        *("style", "math", "frame", "meter", "progress", "textarea", "select", "button"),
    }
)
_UNSEEN = frozenset({"title", "template", "noscript"})
_NEEDED_LINKS = frozenset({"stylesheet", "modulepreload"})


class Page(HTMLParser):
    """A page, read once.

    Attributes:
        shows: whether anything in it can be seen, or may come to be seen by a script, style or redirect.
        references: absolute addresses of its scripts and style sheets, in order.
    """

    def __init__(self, text: str, url: str) -> None:
        super().__init__()
        self.shows = False
        self.references: list[str] = []
        self._base = url
        self._unseen = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element shows or needs."""
        given = {name: value or "" for name, value in attrs}
        self._unseen += tag in _UNSEEN
        if tag == "base" and given.get("href"):
            self._base = urljoin(self._base, given["href"])
        elif tag == "script" and given.get("src"):
            self._refer(given["src"])
        elif tag == "link" and _NEEDED_LINKS & set(given.get("rel", "").lower().split()) and given.get("href"):
            self.shows = True
            self._refer(given["href"])
        refreshes = tag == "meta" and given.get("http-equiv", "").lower() == "refresh"
        self.shows |= tag in _SHOWING or "style" in given or refreshes

    def handle_endtag(self, tag: str) -> None:
        """Leave an element whose text is not shown."""
        self._unseen -= tag in _UNSEEN and self._unseen > 0

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.shows |= not self._unseen and bool(data.strip())

    def _refer(self, address: str) -> None:
        absolute = urljoin(self._base, address.strip()).partition("#")[0]
        if len(self.references) < MOST_REFERENCES and absolute not in self.references:
            self.references.append(absolute)
