"""The report of `zepid doctor`."""

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from services.cli.doctor import CHECKS, Finding, Patient

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def diagnose(patient: Patient, *, as_json: bool) -> bool:
    """Print what each check finds, as it finds it; return whether nothing required is missing."""
    console = Console(highlight=False, soft_wrap=True)
    findings = []
    for check in CHECKS:
        finding = check(patient)
        findings.append(finding)
        if not as_json:
            console.print(_line(finding))
    is_well = all(finding.state != "fail" for finding in findings)
    if as_json:
        typer.echo(msgspec.json.encode({"ok": is_well, "checks": findings}).decode())
    return is_well


def _line(finding: Finding) -> Text:
    fix = f"\n{'':20}{finding.fix}" if finding.fix else ""
    return Text.assemble(
        (f"{finding.state:<5}", _STYLES[finding.state]), f" {finding.name:<13} {finding.what}", (fix, "dim")
    )
