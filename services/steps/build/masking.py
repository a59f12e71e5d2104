"""Keeps the values of variables out of what a build prints.

Hidden are the value, each line of one that has several, and the forms in which tools print it: JSON, URL and
Base64 at any offset. A value that is broken over lines is found, too: a line that ends as a value begins waits for
the next one. Not hidden are short values and words that say nothing (`true`, `production`), since replacing those
would spoil every log, and what a build computes from a value in other ways.
"""

import base64
import json
from collections.abc import Callable, Iterable
from urllib.parse import quote

MASK = "***"
SHORTEST = 4
"""Characters from which a value is hidden."""
PLAIN_WORDS = frozenset(
    {
        *("true", "false", "null", "none", "undefined", "info", "warn", "error", "debug", "silent", "verbose"),
        *("development", "production", "staging", "preview", "test", "localhost", "https", "http"),
    }
)
_HELD_LINES = 64

Write = Callable[[str, str], None]
"""Takes a stream and a line."""


class Mask:
    """Replaces values in single texts."""

    def __init__(self, values: Iterable[str], clean: Callable[[str], str] = str) -> None:
        """Take the values; `clean` is what the lines of the output have gone through, too."""
        forms = {form for value in values for given in (value, clean(value)) for form in _forms(given)}
        self.needles = sorted(filter(_is_secret, forms), key=lambda form: (-len(form), form))

    def __call__(self, text: str) -> str:
        """Return the text without the values."""
        for needle in self.needles:
            if needle in text:
                text = text.replace(needle, MASK)
        return text

    def begun_at_end(self, text: str) -> bool:
        """Whether the text ends with enough of a value's beginning for the rest of it to follow."""
        return any(_ends_with_beginning(text, needle) for needle in self.needles)


class MaskedLines:
    """Hands on the lines of a command, without the values."""

    def __init__(self, mask: Mask, write: Write) -> None:
        self._mask = mask
        self._write = write
        self._held: dict[str, list[str]] = {}

    def add(self, stream: str, line: str) -> None:
        """Hand on a line, unless a value may have begun at its end."""
        if not self._mask.needles:
            self._write(stream, line)
            return
        held = self._held.setdefault(stream, [])
        held.append(line)
        if len(held) > _HELD_LINES or not self._mask.begun_at_end(line):
            self._release(stream)

    def close(self) -> None:
        """Hand on what is still held."""
        for stream in list(self._held):
            self._release(stream)

    def _release(self, stream: str) -> None:
        lines = self._held.pop(stream)
        whole = "".join(lines)
        if len(lines) == 1 or self._mask(whole) == "".join(map(self._mask, lines)):
            for line in lines:
                self._write(stream, self._mask(line))
        else:
            self._write(stream, self._mask(whole))


def _forms(value: str) -> Iterable[str]:
    for text in (value.strip(), *value.splitlines()):
        yield text.strip()
        yield json.dumps(text.strip())[1:-1]
    yield quote(value)
    yield quote(value, safe="")
    data = value.encode(errors="surrogatepass")
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        certain = encoded[(0, 2, 3)[offset] : len(encoded) - (1 if (offset + len(data)) % 3 else 0)]
        yield certain
        yield certain.replace("+", "-").replace("/", "_")


def _is_secret(form: str) -> bool:
    return len(form) >= SHORTEST and form.lower() not in PLAIN_WORDS


def _ends_with_beginning(text: str, needle: str) -> bool:
    start = needle[: min(SHORTEST, len(needle) // 2)]
    tail = text[-(len(needle) - 1) :]
    at = tail.find(start)
    while at >= 0:
        if needle.startswith(tail[at:]):
            return True
        at = tail.find(start, at + 1)
    return False
