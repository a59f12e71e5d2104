"""The program that runs Workers: found on this host, or installed from the registry."""

import os
from pathlib import Path

from shared.adapters.sandboxes.local.host import this_host
from shared.adapters.sandboxes.local.installer import Installer
from shared.adapters.sandboxes.local.programs import WORKERD
from shared.contracts.errors import ZepidError

_, _DAY, _ = WORKERD.version.split(".")
NEWEST_DATE = f"{_DAY[:4]}-{_DAY[4:6]}-{_DAY[6:]}"
"""The newest compatibility date that it knows."""


class Runtime:
    """workerd below the data folder `data`."""

    def __init__(self, data: Path) -> None:
        self._host = this_host(data)
        self._installer = Installer(self._host)

    @property
    def program(self) -> Path:
        """Where it lies, or will."""
        return self._host.toolchains / WORKERD.folder / WORKERD.executable

    @property
    def is_installed(self) -> bool:
        """Whether it is there."""
        return os.access(self.program, os.X_OK)

    async def provide(self) -> None:
        """Install it unless it is there.

        Raises:
            ZepidError: WORKER_RUNTIME_MISSING, saying why it could not be installed.
        """
        if self.is_installed:
            return
        try:
            self._host.toolchains.mkdir(parents=True, exist_ok=True)
            await self._installer.install(WORKERD)
        except (ZepidError, OSError) as error:
            excerpt = error.excerpt if isinstance(error, ZepidError) else ""
            message = f"Workers cannot run here: workerd is not installed, and could not be ({error})"
            raise ZepidError("WORKER_RUNTIME_MISSING", message, excerpt=excerpt) from error
