"""Lists in pages."""

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TypeVar

T = TypeVar("T")


async def read_page(
    limit: int, read: Callable[[int], Awaitable[list[T]]], cursor_of: Callable[[T], str] = attrgetter("id")
) -> tuple[list[T], str | None]:
    """Return a page and the cursor that asks for the next one, None where there is none.

    Args:
        limit: rows of a page.
        read: returns at most so many rows after the caller's cursor; it is asked for one more than the page has.
        cursor_of: what a row is found again by; its id.
    """
    rows = await read(limit + 1)
    page = rows[:limit]
    return page, cursor_of(page[-1]) if len(rows) > limit else None
