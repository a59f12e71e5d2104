"""What a deployment has built: the list of its files, each of them, and all together."""

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Response, get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from services.gateway.auth import READ
from services.gateway.downloads import ArchiveFormat, archive, part_of
from services.gateway.errors import error_responses
from services.gateway.lookup import visible_deployment
from services.gateway.ports import GatewayRequest
from shared.adapters.postgres.releases import BuiltRow
from shared.blobs import load, load_manifest
from shared.contracts.errors import ZepidError
from shared.media_types import content_type_of

_UNKNOWN_TYPE = "application/octet-stream"
_HARMLESS = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox", "Cache-Control": "private"}
"""A built file is somebody's program: no browser may run it here, beside the API."""
_ARCHIVE_TYPES = {"tar.gz": "application/gzip", "zip": "application/zip"}


class ArtifactFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: size in bytes, BLAKE3 digest, media type, and where it is downloaded."""

    path: str
    size: int
    digest: str
    type: str
    url: str


class ArtifactList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything that a deployment has built; `archives` are the whole by format. Addresses are those of this API."""

    deployment_id: str
    release_id: str
    digest: str
    files: list[ArtifactFile]
    total_bytes: int
    archives: dict[str, str]


@get(
    "/deploy/{deployment_id:str}/artifacts",
    opt=READ,
    tags=["Artifacts"],
    summary="List what a deployment has built",
    responses=error_responses(401, 404, 503),
)
async def list_artifacts(request: GatewayRequest, deployment_id: FromPath[str]) -> Response[ArtifactList | None]:
    """Return every file of the output, from the moment it goes live until it is no longer kept."""
    built = await _built(request, deployment_id)
    headers = {"ETag": f'"{built.manifest}"', "Cache-Control": "private, no-cache"}
    if _is_known(request, headers["ETag"]):
        return Response(None, status_code=304, headers=headers)
    manifest = await load_manifest(request.ports.artifacts, built.manifest)
    base = f"/deploy/{quote(built.deployment_id)}/artifacts"
    files = [
        ArtifactFile(
            path=path,
            size=entry.size,
            digest=entry.digest,
            type=content_type_of(path) or _UNKNOWN_TYPE,
            url=f"{base}/file?path={quote(path, safe='')}",
        )
        for path, entry in manifest.files.items()
    ]
    body = ArtifactList(
        deployment_id=built.deployment_id,
        release_id=built.id,
        digest=built.manifest,
        files=files,
        total_bytes=manifest.total_bytes,
        archives={format: f"{base}/archive?format={format}" for format in _ARCHIVE_TYPES},
    )
    return Response(body, headers=headers)


@get(
    "/deploy/{deployment_id:str}/artifacts/file",
    opt=READ,
    tags=["Artifacts"],
    summary="Download one built file",
    media_type=_UNKNOWN_TYPE,
    responses=error_responses(400, 401, 404, 503),
)
async def download_file(
    request: GatewayRequest,
    deployment_id: FromPath[str],
    path: Annotated[str, QueryParameter(description="As the list has it")],
) -> Response[bytes]:
    """Return the bytes of one file, or the one range of them that `Range` asks for."""
    built = await _built(request, deployment_id)
    manifest = await load_manifest(request.ports.artifacts, built.manifest)
    entry = manifest.files.get(path)
    if entry is None:
        raise ZepidError("NOT_FOUND", "The deployment has built no file of this path")
    headers = {
        **_HARMLESS,
        "ETag": f'"{entry.digest}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": _attachment(path.rpartition("/")[2]),
    }
    if _is_known(request, headers["ETag"]):
        return Response(b"", status_code=304, headers=headers)
    try:
        part = part_of(request.headers.get("range", ""), entry.size)
    except ValueError:
        return Response(b"", status_code=416, headers={**headers, "Content-Range": f"bytes */{entry.size}"})
    data = await load(request.ports.artifacts, entry.digest, path)
    media_type = content_type_of(path) or _UNKNOWN_TYPE
    if part is None:
        return Response(data, headers=headers, media_type=media_type)
    headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{entry.size}"
    return Response(data[part.start : part.end], status_code=206, headers=headers, media_type=media_type)


@get(
    "/deploy/{deployment_id:str}/artifacts/archive",
    opt=READ,
    tags=["Artifacts"],
    summary="Download everything that a deployment has built",
    media_type=_UNKNOWN_TYPE,
    responses=error_responses(400, 401, 404, 503),
)
async def download_archive(
    request: GatewayRequest,
    deployment_id: FromPath[str],
    format: Annotated[ArchiveFormat, QueryParameter()] = "tar.gz",
) -> Response[Any]:
    """Return the whole output as a tar.gz or zip, sent as it is made; the same output makes the same bytes."""
    built = await _built(request, deployment_id)
    headers = {
        **_HARMLESS,
        "ETag": f'"{built.manifest}.{format}"',
        "Content-Disposition": _attachment(f"{built.deployment_id}.{format}"),
    }
    if _is_known(request, headers["ETag"]):
        return Response(b"", status_code=304, headers=headers)
    manifest = await load_manifest(request.ports.artifacts, built.manifest)
    pieces = archive(request.ports.artifacts, manifest, format)
    return Stream(pieces, headers=headers, media_type=_ARCHIVE_TYPES[format])


async def _built(request: GatewayRequest, deployment_id: str) -> BuiltRow:
    deployment = await visible_deployment(request, deployment_id)
    built = await request.ports.releases.of_deployment(deployment.id)
    if built is None:
        raise ZepidError("NOT_FOUND", "The deployment has built nothing that could go live, or has not come that far")
    if not built.kept:
        raise ZepidError("NOT_FOUND", "What the deployment has built is no longer kept")
    return built


def _is_known(request: GatewayRequest, etag: str) -> bool:
    known = request.headers.get("if-none-match", "")
    return "*" in known or etag in (tag.strip().removeprefix("W/") for tag in known.split(","))


def _attachment(name: str) -> str:
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


HANDLERS = [list_artifacts, download_file, download_archive]
