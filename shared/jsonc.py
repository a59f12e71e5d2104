"""JSON with comments and trailing commas, as people write configuration."""

import re
from typing import Any

import msgspec

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|,(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL)


def decode(text: str) -> Any:
    """Return the value of a text.

    Raises:
        msgspec.DecodeError: it is no JSON once comments and trailing commas are gone.
    """
    return msgspec.json.decode(_TOKEN.sub(_kept, text.removeprefix("\ufeff")))


def _kept(token: re.Match[str]) -> str:
    """Keep strings; put a space where a comment was, nothing where a comma was too many."""
    found = token[0]
    if found.startswith('"'):
        return found
    return "" if found == "," else " "
