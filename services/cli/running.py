"""What `zepid up` leaves in its data folder for commands that need the servers themselves."""

import os
from pathlib import Path

import msgspec

from services.cli.connection import write_private
from services.cli.errors import CommandError
from shared.settings import Settings, load_settings

_FILE_NAME = "settings.json"


def save_settings(settings: Settings) -> None:
    """Keep the settings of a running stack in its data folder, readable by their owner only."""
    write_private(settings.data_path / _FILE_NAME, msgspec.json.encode(settings.as_environ()))


def settings_of_running(data_dir: Path) -> Settings:
    """Return the settings of the stack in a data folder; the environment wins.

    Raises:
        CommandError: no stack was started there, and the environment names no servers either.
    """
    file = data_dir.resolve() / _FILE_NAME
    saved: dict[str, str] = msgspec.json.decode(file.read_bytes()) if file.is_file() else {}
    if not saved and not (os.environ.get("NATS_URL") and os.environ.get("POSTGRES_URL")):
        raise CommandError(f"nothing was started in {data_dir}: run `zepid up`, or set NATS_URL and POSTGRES_URL")
    return load_settings({**saved, **os.environ})
