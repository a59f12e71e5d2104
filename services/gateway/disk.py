"""Room for another deployment, where the object store is a folder of this host."""

import shutil
import time

from shared.adapters.objects import local_folder
from shared.contracts.errors import ZepidError
from shared.settings import Settings

_KEPT_SECONDS = 1.0


class Disk:
    """How full the disk below the object store is, looked at once a second at most."""

    def __init__(self, settings: Settings) -> None:
        self._folder = local_folder(settings.object_store_url)
        self._most = settings.storage_high_water
        self._percent = 0.0
        self._looked_at = float("-inf")

    def must_have_room(self) -> None:
        """Refuse with STORAGE_FULL when the disk is used above the mark; other stores have room."""
        if self._folder is None:
            return
        if time.monotonic() - self._looked_at > _KEPT_SECONDS:
            usage = shutil.disk_usage(self._folder if self._folder.exists() else ".")
            self._percent = 100 * usage.used / (usage.used + usage.free)
            self._looked_at = time.monotonic()
        if self._percent > self._most:
            message = f"The disk of the object store is {self._percent:.0f} % full, so no deployment is accepted"
            raise ZepidError("STORAGE_FULL", message)
