"""A bounded cache whose values are loaded once, however many ask for them at the same time."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Keeps the values used last, up to a total weight. None is passed on, and not kept."""

    def __init__(self, capacity: int, weigh: Callable[[V], int]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._weight = 0
        self._held: OrderedDict[K, V] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V | None]] = {}

    async def get(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return the value, from `load` the first time; what `load` raises goes to everyone who waits."""
        value = self.held(key)
        if value is not None:
            return value
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.create_task(self._load(key, load))
        return await asyncio.shield(loading)

    def held(self, key: K) -> V | None:
        """Return the value if it is kept."""
        value = self._held.get(key)
        if value is not None:
            self._held.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        """Keep a value that is not kept yet, and let go of those not used for longest."""
        weight = self._weigh(value)
        if weight > self._capacity or key in self._held:
            return
        self._held[key] = value
        self._weight += weight
        while self._weight > self._capacity:
            _, oldest = self._held.popitem(last=False)
            self._weight -= self._weigh(oldest)

    async def _load(self, key: K, load: Callable[[], Awaitable[V | None]]) -> V | None:
        try:
            value = await load()
            if value is not None:
                self.keep(key, value)
            return value
        finally:
            del self._loading[key]
