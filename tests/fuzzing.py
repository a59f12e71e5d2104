"""schemathesis against a running gateway: every operation of its OpenAPI document, all checks."""

import asyncio
import re
import sys
from pathlib import Path

import msgspec

NOT_TRIED = ("/deploy/{deployment_id}/events", "/deploy/{deployment_id}/logs/stream")
"""Event streams do not end by themselves."""
NOT_IN_A_SCHEMA = {
    "POST /deploy": "templates and addresses of repositories have forms of their own",
    "POST /tokens": "the end must be in the future",
    "PATCH /projects/{project_id}": "`If-Match` must name the present state",
    "POST /projects/{project_id}/domains": "a domain has a form of its own",
    "POST /webhooks": "the address must be a public one",
    "PATCH /webhooks/{webhook_id}": "the address must be a public one",
    "GET /deploy-status": "one of two parameters must be given",
    "PUT /blobs/{digest}": "the digest must be that of the body",
    "POST /blobs": "the body must be an archive",
    "PUT /projects/{project_id}/source": "the body must be an archive",
    "POST /projects/{project_id}/source": "paths and digests have a form of their own",
    "PUT /projects/{project_id}/env": "names have a form of their own",
    "PATCH /projects/{project_id}/env": "names have a form of their own",
    "PUT /projects/{project_id}/env/{name}": "names have a form of their own",
}
"""Operations that refuse what their schema allows, by a rule that no schema can tell."""
EMPTIED = ("GET /projects/{project_id}/env",)
"""What a DELETE of the same path empties: it is there afterwards, with nothing in it."""


class Tried(msgspec.Struct, frozen=True):
    """One run: how many cases it made, and what it printed."""

    exit_code: int
    cases: int
    report: str


async def fuzz(url: str, token: str | None, examples: int, folder: Path, *, known: dict[str, str], seed: int) -> Tried:
    """Try up to `examples` cases of each operation; `known` are parameters that name something real."""
    settings = folder / "schemathesis.toml"
    settings.write_text("\n".join(_settings(known)))
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(settings)),
        *("run", f"{url}/openapi.json", "--url", url),
        *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure", "--no-color"),
        *("--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "20"),
        *(option for path in NOT_TRIED for option in ("--exclude-path", path)),
        *(("--header", f"Authorization: Bearer {token}") if token else ()),
    ]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=folder
    )
    output, _ = await process.communicate()
    report = output.decode()
    cases = re.search(r"(\d+) generated", report)
    assert process.returncode is not None
    return Tried(process.returncode, int(cases[1]) if cases else 0, report)


def _settings(known: dict[str, str]) -> list[str]:
    lines = ["[parameters]", *(f'"{name}" = "{value}"' for name, value in known.items())]
    left_out = [(operation, "positive_data_acceptance") for operation in NOT_IN_A_SCHEMA]
    for operation, check in [*left_out, *((operation, "use_after_free") for operation in EMPTIED)]:
        lines += ["[[operations]]", f'include-name = "{operation}"', f"checks.{check}.enabled = false"]
    return lines
