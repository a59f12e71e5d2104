"""The tree that a request to deploy brings, or that a project's row describes: stored first, recorded on acceptance.

Blobs of a refused request are collected some day; a snapshot is made in the transaction that accepts.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from services.gateway.platform_tree import Warnings, read_history, template_files, with_history
from services.gateway.ports import GatewayPorts
from services.gateway.sources import checked_tree, store_upload
from shared.adapters.postgres.projects import PlatformRow
from shared.blobs import digest_of, encode_manifest
from shared.ports import Entry
from shared.source_origin import SourceOrigin, SourceTree


async def tree_of_request(
    ports: GatewayPorts, project_id: str, organization_id: str, init_files: Any, history: Any
) -> SourceTree | None:
    """Store the tree of a request's `initFiles` and `historyMessages`; None when there is no such project.

    Without `initFiles` the changes are made to the project's template.

    Raises:
        ZepidError: SOURCE_INVALID, naming the first file that can't be taken; STORAGE_WRITE_FAILED.
    """
    row = await ports.projects.platform_row(project_id, organization_id)
    if row is None:
        return None
    warn = Warnings()
    initial = template_files(init_files) if init_files else _template(ports, row, warn)
    return await _stored(ports, organization_id, initial, history, warn, of_project=False)


async def tree_of_project(ports: GatewayPorts, project_id: str, organization_id: str) -> SourceTree:
    """Store the tree that a project's row describes: its template and message history, else its git repository.

    Raises:
        ZepidError: as `tree_of_request`.
    """
    row = await ports.projects.platform_row(project_id, organization_id)
    if row is None:
        return SourceTree(origin=SourceOrigin(type="platform", of_project=True))
    warn = Warnings()
    template = _template(ports, row, warn)
    tree = await _stored(ports, organization_id, template, row.message_history, warn, of_project=True)
    if tree.manifest or not row.git_url:
        return tree
    origin = SourceOrigin(
        type="git", url=row.git_url, ref=row.git_branch, of_project=True, warnings=tree.origin.warnings
    )
    return SourceTree(origin=origin)


def _template(ports: GatewayPorts, row: PlatformRow, warn: Warnings) -> dict[str, str]:
    files = ports.templates.files(row.template_type)
    if files is None:
        warn(f"the files of the template {row.template_type!r} are not known here: only the message history counts")
    return files or {}


async def _stored(
    ports: GatewayPorts,
    organization_id: str,
    initial: Mapping[str, str],
    history: Any,
    warn: Warnings,
    *,
    of_project: bool,
) -> SourceTree:
    def make() -> tuple[dict[str, bytes], dict[str, Entry]]:
        texts = with_history(initial, read_history(history, warn), warn)
        files = {path: text.encode() for path, text in texts.items()}
        return files, {path: Entry(digest_of(data), len(data)) for path, data in files.items()}

    files, entries = await asyncio.to_thread(make)
    tree = checked_tree(entries)
    origin = SourceOrigin(type="platform", of_project=of_project, warnings=warn.shown)
    if not tree.files:
        return SourceTree(origin=origin)
    await store_upload(ports, organization_id, [files[path] for path in tree.files])
    [manifest] = await store_upload(ports, organization_id, [encode_manifest(tree)])
    return SourceTree(origin=origin, manifest=manifest, file_count=len(tree.files), total_bytes=tree.total_bytes)
