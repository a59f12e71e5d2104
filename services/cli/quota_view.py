"""How a quota is printed."""

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from shared.client import Client
from shared.client.quota import Plan

_ENDLESS = 1000


async def show_quota(client: Client, organization_id: str | None, *, as_json: bool) -> None:
    """Print an organisation's plans and what is left of them."""
    state = await client.quota.of(organization_id)
    if as_json:
        typer.echo(msgspec.json.encode(state).decode())
        return
    if not state.metered:
        typer.echo(f"{state.organization_id} has no plan, so its deployments are not counted.")
        return
    table = Table("Plan", "Left", "Reserved", "Used", "Until", box=None, pad_edge=False)
    for plan in state.plans:
        table.add_row(plan.plan_name, str(plan.remaining), str(plan.reserved), str(plan.used), _until(plan))
    Console(highlight=False, width=_ENDLESS, markup=False).print(table)
    typer.echo(f"\n{state.organization_id} may deploy {state.remaining} times more.")


def _until(plan: Plan) -> str:
    if not plan.active:
        return f"{plan.period_end} (not in force)"
    return f"{plan.period_end}, full again {plan.refreshes_at}" if plan.refreshes_at else plan.period_end
