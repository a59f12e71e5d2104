"""The two commands that do not follow from a step: the first one and the cleanup."""

from shared.adapters.postgres.deployments import AdmittedRow, EndedRow
from shared.contracts.messages import Command, Work
from shared.pipeline import CLEANUP, FIRST


def first_command(row: AdmittedRow | EndedRow) -> Command:
    """Return the order with which an admitted deployment starts."""
    return _command(row, FIRST.name, Work(source=row.source, target=row.target, debug=row.debug))


def cleanup_command(row: EndedRow) -> Command:
    """Return the order to clean up; it needs nothing but the deployment's name."""
    work = Work(source=row.source, target=row.target, release=row.release, url=row.url)
    return _command(row, CLEANUP.name, work)


def _command(row: AdmittedRow | EndedRow, step: str, work: Work) -> Command:
    return Command(
        deployment_id=row.id,
        project_id=row.project_id,
        organization_id=row.organization_id,
        step=step,
        deadline=row.deadline or 0.0,
        work=work,
    )
