"""Apps that cannot be built: each ends at once, and says where it broke and what to do."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.contracts.errors import CODES
from tests.e2e import apps
from tests.e2e.apps import Tree, write
from tests.live import Deployed, LiveStack

FINAL_WITHIN_SECONDS = 2.0
"""From the last word of the build to the outcome: 1 s is promised, twice that for a crowded machine."""


@dataclass(frozen=True)
class Broken:
    """An app and what its diagnosis must hold; `excerpt` is, if a tool ran, a line of its own and in the log."""

    app: Callable[[], Tree]
    code: str
    step: str = "build"
    file: str | None = None
    line: int | None = None
    said: str = ""
    excerpt: str = ""


BROKEN = [
    Broken(
        apps.type_error,
        "BUILD_TYPE_ERROR",
        file="src/price.ts",
        line=2,
        said="not assignable",
        excerpt="src/price.ts(2,14): error TS2322",
    ),
    Broken(
        apps.missing_dependency,
        "BUILD_DEPENDENCY_MISSING",
        file="src/App.tsx",
        said="not-in-package-json",
        excerpt="not-in-package-json",
    ),
    Broken(
        apps.missing_dependency_in_typescript,
        "BUILD_DEPENDENCY_MISSING",
        file="src/greet.ts",
        line=1,
        said="not-in-package-json",
        excerpt="src/greet.ts(1,23): error TS2307",
    ),
    Broken(
        apps.missing_build_script,
        "BUILD_SCRIPT_MISSING",
        step="validate",
        file="package.json",
        said="start",
        excerpt='"start": "node src/main.js"',
    ),
    Broken(apps.no_output, "BUILD_NO_OUTPUT", said="dist", excerpt="nothing to write today"),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.app.__name__)
async def test_a_broken_app_fails_at_once_with_a_diagnosis(broken: Broken, stack: LiveStack, tmp_path: Path) -> None:
    deployed = await stack.deploy(write(broken.app(), tmp_path))

    assert (deployed.exit_code, deployed.result["status"]) == (1, "failed"), deployed.result
    diagnosis = deployed.result["diagnosis"]
    check_diagnosis(diagnosis, broken)

    status = (await stack.get(f"/deploy/{deployed.result['deploymentId']}/status")).json()
    assert (status["status"], status["error"]) == ("failed", diagnosis["message"])
    assert status["steps"][broken.step]["status"] == "failed"
    assert present(status["diagnosis"]) == present(diagnosis)

    if broken.step == "build":
        assert any(broken.excerpt in line for line in deployed.log), deployed.log
    assert any(diagnosis["message"] in line for line in deployed.log), deployed.log

    seconds = seconds_to_outcome(deployed, status["completedAt"])
    logging.getLogger(__name__).info("%s: failed %.3f s after the build's last line", broken.app.__name__, seconds)
    assert seconds < FINAL_WITHIN_SECONDS


def check_diagnosis(diagnosis: dict[str, Any], broken: Broken) -> None:
    assert (diagnosis["code"], diagnosis["step"]) == (broken.code, broken.step), diagnosis
    assert (diagnosis["class"], diagnosis["retryable"]) == ("user", False)
    assert diagnosis["hint"] == CODES[broken.code].hint
    assert (diagnosis.get("file"), diagnosis.get("line")) == (broken.file, broken.line), diagnosis
    assert broken.said in diagnosis["message"]
    assert broken.excerpt in diagnosis["excerpt"]


def present(diagnosis: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in diagnosis.items() if value not in (None, "")}


def seconds_to_outcome(deployed: Deployed, ended_at: str) -> float:
    """Return the time from the last line of a tool, or of ours if none ran, to the outcome."""
    lines = [line for line in deployed.lines if line["type"] == "log"]
    last = [line for line in lines if line["stream"] != "system"] or lines
    return (datetime.fromisoformat(ended_at) - datetime.fromisoformat(last[-1]["timestamp"])).total_seconds()
