"""The real database that all examples of a test share, cleaned between them."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import asyncpg

from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.deployments import Deployments
from shared.settings import load_settings

METERED, UNMETERED = "org-metered", "org-free"
PROJECTS = {"p-1": METERED, "p-2": METERED, "p-3": UNMETERED}
QUOTA = 6
SETTINGS = load_settings(
    {}, max_retries=1, max_concurrent_deployments=2, max_concurrent_per_organization=1, max_waiting_per_organization=3
)
_ALL = ("deployment", "release", "site", "quota_ledger", "deployment_progress", "deployment_step", "repair")
_LOOK = """
select jsonb_build_object(
  'deployments', (select coalesce(jsonb_agg(d order by d.id), '[]') from deployment d),
  'releases', (select coalesce(jsonb_agg(r order by r.id), '[]') from release r),
  'sites', (select coalesce(jsonb_agg(s order by s.name), '[]') from site s),
  'ledger', (select coalesce(jsonb_agg(q order by q.deployment_id), '[]') from quota_ledger q),
  'quota', (select sum(deploy_limit) from subscription_limit),
  'progress', (select coalesce(jsonb_agg(p order by p.deployment_id), '[]') from deployment_progress p))
"""


class Database:
    """The pool and the loop that all examples share."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: None)
        self.pool: asyncpg.Pool = self.run(open_pool(url, size=3))
        self.deployments = Deployments(self.pool)
        self.run(self._prepare())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.pool.terminate()
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()

    async def _prepare(self) -> None:
        for project, organization in PROJECTS.items():
            await self.pool.execute(
                "insert into project (id, name, template_type, user_id, organization_id) values ($1, $1, 'v', 'u', $2)",
                project,
                organization,
            )
        await self.pool.execute(
            """insert into subscription_limit (id, organization_id, plan_name, plan_id, ai_nums, enhance_nums,
              upload_limit, deploy_limit, period_start, period_end)
            values ('plan', $1, 'PRO', 'x', 0, 0, 0, 0, now(), now() + interval '1 year')""",
            METERED,
        )

    async def clean(self) -> None:
        deletes = "; ".join(f"delete from {table}" for table in _ALL)
        await self.pool.execute(
            f"{deletes}; delete from projection_position; update subscription_limit set deploy_limit = {QUOTA}; "
            "insert into projection_position (name, stream_created, sequence) values ('status', now(), 0)"
        )

    def look(self) -> dict[str, Any]:
        """Return every row that the promises are about."""
        seen: dict[str, Any] = self.run(self.pool.fetchval(_LOOK))
        return seen

    def pass_deadline(self, deployment_id: str) -> None:
        """Time passes until a deployment has run, or waited, for too long."""
        self.run(
            self.pool.execute(
                """update deployment set deadline = now() - interval '1 second',
                accepted_at = case when admitted_at is null then accepted_at - interval '2 days' else accepted_at end
                where id = $1 and outcome is null""",
                deployment_id,
            )
        )

    def lose(self, write: str, ids: list[str]) -> bool:
        """Undo a write of these deployments, the last of all, whose commit did not wait for the disk."""
        undo = {
            "free": """freed_at = null where id = any($1) and freed_at =
              (select max(greatest(accepted_at, admitted_at, ended_at, freed_at)) from deployment)""",
            "admit": "admitted_at = null, deadline = null where id = any($1) and outcome is null",
        }.get(write)
        return undo is not None and self.run(self.pool.execute(f"update deployment set {undo}", ids)) != "UPDATE 0"
