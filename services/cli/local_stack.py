"""`zepid up`: the whole system on one machine, from nothing to an address that answers."""

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import typer
import uvloop

from infra.dev.data_dir import encryption_key, is_free, port_for
from infra.dev.errors import EmbeddedStackError
from infra.dev.stack import EmbeddedStack, Endpoints
from services.cli.catalog import NAMES, load
from services.cli.connection import Connection, read_connection, save_connection
from services.cli.deploy import deploy_folder
from services.cli.errors import CommandError
from services.cli.processes import Processes
from services.cli.running import save_settings
from services.cli.session import complain, explanation
from services.cli.views import view_for
from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.migrate import migrate
from shared.adapters.postgres.tokens import Tokens, token_hash
from shared.client import Client, ClientError
from shared.contracts.errors import ZepidError
from shared.pulse import Pulse
from shared.resources import open_resources
from shared.service import run_together, stop_on_signals
from shared.settings import InvalidSettings, Settings, load_settings
from shared.telemetry import configure_logs, configure_traces, flush_traces

API_PORT = 3008
EDGE_PORT = 3080
OWNER = "local"
"""Organisation and user of the token that is made at the first start."""
READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for; a port of None is the usual one, or a free one if that is taken."""

    data_dir: Path
    port: int | None
    edge_port: int | None
    deploy: Path | None
    processes: bool


def run_stack(wanted: Wanted) -> None:
    """Run until a signal; exits with one clear text when something cannot start."""
    try:
        uvloop.run(_up(wanted))
    except (InvalidSettings, EmbeddedStackError, CommandError) as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except ZepidError as error:
        complain(error.message, error.code.hint)
        raise typer.Exit(3) from None
    finally:
        flush_traces()


async def _up(wanted: Wanted) -> None:
    """Servers, schema, token, services, then the folder to deploy; stopped in the opposite order."""
    stopping = asyncio.Event()
    stop_on_signals(stopping)
    (wanted.data_dir / "logs").mkdir(mode=0o755, parents=True, exist_ok=True)
    log_file = wanted.data_dir / "logs" / "zepid.log"
    with log_file.open("a") as output:
        async with EmbeddedStack(wanted.data_dir, os.environ) as endpoints:
            settings = _settings(wanted, endpoints)
            configure_logs(settings.log_level, output)
            configure_traces("up")
            save_settings(settings)
            await migrate(settings.postgres_url)
            connection = await _connection(wanted.data_dir, settings)
            running = asyncio.create_task(_run_services(wanted, settings, stopping))
            greeting = asyncio.create_task(_greet(wanted, settings, connection, log_file))
            await asyncio.wait({running, greeting}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                greeting.result()
            await running
            greeting.cancel()
            await asyncio.gather(greeting, return_exceptions=True)
    typer.echo("Stopped.")


def _settings(wanted: Wanted, endpoints: Endpoints) -> Settings:
    edge_port = _port("edge", wanted.data_dir, wanted.edge_port, EDGE_PORT)
    return load_settings(
        nats_url=endpoints.nats_url,
        postgres_url=endpoints.postgres_url,
        object_store_url=endpoints.object_store_url,
        data_dir=str(wanted.data_dir),
        port=_port("gateway", wanted.data_dir, wanted.port, API_PORT),
        edge_port=edge_port,
        edge_url=os.environ.get("EDGE_URL") or f"http://{{site}}.localhost:{edge_port}",
        edge_address=f"127.0.0.1:{edge_port}",
        encryption_keys=os.environ.get("ENCRYPTION_KEYS") or encryption_key(wanted.data_dir),
    )


def _port(name: str, data_dir: Path, given: int | None, usual: int) -> int:
    if given is not None:
        return port_for(name, data_dir, given)
    return usual if is_free(usual) else port_for(name, data_dir, 0)


async def _connection(data_dir: Path, settings: Settings) -> Connection:
    """Return the address and token for this stack's commands; a token is made where none is valid."""
    pool = await open_pool(settings.postgres_url, size=1)
    try:
        tokens = Tokens(pool)
        saved = read_connection(data_dir)
        token = saved.token if saved else ""
        if not token or await tokens.find(token_hash(token)) is None:
            _, token = await tokens.create("zepid up", ["admin"], OWNER, OWNER)
    finally:
        await pool.close()
    url = f"http://127.0.0.1:{settings.port}"
    connection = Connection(url=url, token=token, organization_id=OWNER, user_id=OWNER)
    save_connection(data_dir, connection)
    return connection


async def _run_services(wanted: Wanted, settings: Settings, stopping: asyncio.Event) -> None:
    if wanted.processes:
        await Processes(wanted.data_dir, settings).run(stopping)
        return
    async with open_resources(settings, "up") as resources:
        services = {name: load(name)(resources) for name in NAMES}
        await run_together(services | {"pulse": Pulse(resources.bus, services)}, stopping)


async def _greet(wanted: Wanted, settings: Settings, connection: Connection, log_file: Path) -> None:
    """Wait until everything answers, say where it is, then deploy the folder if one was given."""
    typer.echo("Starting the broker, the database and the services …")
    await _until_ready(connection.url, settings.edge_address)
    typer.echo(f"Ready       {connection.url} (API, /docs), sites at {settings.edge_url.format(site='<name>')}")
    typer.echo(f"Logs        {log_file.parent}")
    if wanted.deploy is None:
        typer.echo("Next        zepid deploy DIR (Ctrl-C stops everything)")
        return
    try:
        async with Client(connection.url, connection.token) as client:
            result = await deploy_folder(client, wanted.deploy, view_for())
    except (CommandError, ClientError) as error:
        complain(*(explanation(error) if isinstance(error, ClientError) else [str(error)]))
        return
    if result.is_live:
        typer.echo(f"Live at {result.worker_url} until Ctrl-C.")


async def _until_ready(url: str, edge_address: str) -> None:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        for address in (f"{url}/health/ready", f"http://{edge_address}/_edge/health"):
            await _until_answered(client, address)


async def _until_answered(client: httpx.AsyncClient, address: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if (await client.get(address)).is_success:
                return
        await asyncio.sleep(0.02)
    raise ZepidError("SERVICE_UNAVAILABLE", f"{address} does not answer after {READY_SECONDS:.0f} s")
