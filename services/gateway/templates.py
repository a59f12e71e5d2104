"""The platform's project templates, as far as the operator has put them here: one file `<template type>.json` each."""

from pathlib import Path

import msgspec

from services.gateway.platform_tree import TemplateFault, template_files
from shared.contracts.errors import ZepidError


class Templates:
    """The templates in the folder TEMPLATES_DIR, in the shape of `initFiles`.

    Attributes:
        names: template types that are known, as of the start of this process.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder) if folder else None
        self.names: tuple[str, ...] = tuple(sorted(path.stem for path in self._paths()))

    def files(self, name: str) -> dict[str, str] | None:
        """Return the files of a template, None when it is not known.

        Raises:
            ZepidError: SOURCE_INVALID, what the operator put there is none.
        """
        if self._folder is None or name not in self.names:
            return None
        try:
            return template_files(msgspec.json.decode((self._folder / f"{name}.json").read_bytes()))
        except (OSError, msgspec.DecodeError, TemplateFault) as error:
            raise ZepidError("SOURCE_INVALID", f"The template {name} can't be used: {error}") from error

    def _paths(self) -> list[Path]:
        return list(self._folder.glob("*.json")) if self._folder else []
