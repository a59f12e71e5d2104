"""nginx, as a yardstick for `zepid bench edge`: one worker that serves a folder."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from infra.dev.child import Child
from services.cli.benches.pipeline import until_listening

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  types {{ text/html html; text/javascript js; video/mp4 mp4; }}
  server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""


def find_nginx() -> str | None:
    """Return the program, None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def nginx(program: str, folder: Path, files: Path, port: int) -> AsyncIterator[None]:
    """Serve the folder `files` on a port of this host; `folder` is for what nginx itself writes."""
    config = _configured(folder, files, port)
    as_root = ["-g", "user root;"] if os.geteuid() == 0 else []
    server = await Child.spawn(
        [program, "-c", str(config), "-p", str(folder), *as_root],
        folder=folder,
        log=folder / "nginx.log",
        stop_signal=signal.SIGTERM,
    )
    try:
        await until_listening(port, server)
        yield
    finally:
        await server.stop(5)


def _configured(folder: Path, files: Path, port: int) -> Path:
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(_CONFIG.format(folder=folder, files=files, port=port))
    return config
