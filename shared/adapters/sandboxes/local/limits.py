"""What a command may take of its host.

Threads are limited by the kernel: in a sandbox's own user namespace, `ulimit` counts that sandbox alone. Memory is
watched from outside. Cgroups would do both, but need rights that a service rarely has.
"""

import asyncio
from dataclasses import dataclass

from shared.adapters.sandboxes.local import processes

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Excess:
    """What was too much, in words, and whether it was memory."""

    words: str
    of_memory: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """What a command and everything that it starts may have at a time.

    Attributes:
        memory: bytes of their own, not counting what they share.
        threads: threads of all its processes; who asks for more gets EAGAIN, and is ended soon.
    """

    memory: int = 4 << 30
    threads: int = 2000

    def within(self, argv: list[str]) -> list[str]:
        """Return a command line that runs another within the limit of threads."""
        # It is -u in bash and -p in dash and busybox.
        limit = f"ulimit -u {self.threads} 2>/dev/null || ulimit -p {self.threads}"
        return ["/bin/sh", "-c", f'{limit}; exec "$@"', "sh", *argv]

    async def exceeded(self, pid: int) -> Excess:
        """Return how a process and its descendants take too much, once they do."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            threads, memory = await asyncio.to_thread(processes.threads_and_bytes, pid, self.threads)
            if memory > self.memory:
                return Excess(f"{memory >> 20:,} MiB of memory; {self.memory >> 20:,} MiB are allowed", of_memory=True)
            if threads >= self.threads:
                return Excess(f"{self.threads:,} threads, as many as are allowed", of_memory=False)


DEFAULT = Limits()
