"""Bringing a project's source here: file by file where it is missing, or as one archive."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, BinaryIO

import msgspec
from litestar import Response, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIMediaType, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import Body, FromPath

from services.gateway.archive_members import MAX_ARCHIVE_BYTES
from services.gateway.auth import DEPLOY
from services.gateway.errors import ValidationFailed, error_responses
from services.gateway.lookup import visible_project
from services.gateway.ports import GatewayRequest
from services.gateway.sources import BundleBody, SourceBody, checked_tree, is_digest, offer_tree, store_bundle, unpack
from shared.blobs import add, digest_of
from shared.contracts.errors import ZepidError
from shared.ports import Entry
from shared.source_rules import MAX_FILE_BYTES

_MOST_MANIFEST_BYTES = 32 * 1024 * 1024
_EXAMPLE = Example(
    summary="Two files",
    value={
        "files": {
            "index.html": {"digest": "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "size": 0},
            "build.sh": {
                "digest": "d74981efa70a0c880b8d8c1985d075dbcbf679b99a5f9914e5aaf96b831a9e24",
                "size": 11,
                "mode": 493,
            },
        }
    },
)


class Tree(msgspec.Struct, frozen=True):
    """A whole source tree: relative path → digest (BLAKE3), size in bytes, and mode as a number."""

    files: dict[str, Entry]


class BlobAnswer(msgspec.Struct, frozen=True):
    """A stored blob."""

    digest: str
    size: int


class _BinaryBody(Operation):
    """An operation whose body is bytes, for the OpenAPI document."""

    def __post_init__(self) -> None:
        schema = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        content = {"application/octet-stream": OpenAPIMediaType(schema=schema)}
        self.request_body = RequestBody(content=content, required=True)


@post(
    "/projects/{project_id:str}/source",
    status_code=200,
    opt=DEPLOY,
    request_max_body_size=_MOST_MANIFEST_BYTES,
    tags=["Sources"],
    summary="Offer a source tree",
    responses=error_responses(400, 401, 404, 413, 503),
)
async def offer_source(
    request: GatewayRequest, project_id: FromPath[str], data: Annotated[Tree, Body(examples=[_EXAMPLE])]
) -> SourceBody:
    """Name the whole tree. The answer names the blobs to upload; with none missing it is a snapshot."""
    project = await visible_project(request, project_id)
    return await offer_tree(request.ports, project, checked_tree(data.files))


@put(
    "/projects/{project_id:str}/source",
    opt=DEPLOY,
    request_max_body_size=MAX_ARCHIVE_BYTES,
    operation_class=_BinaryBody,
    tags=["Sources"],
    summary="Upload a source tree as tar.gz or zip",
    responses=error_responses(400, 401, 404, 413, 503),
)
async def upload_source(request: GatewayRequest, project_id: FromPath[str]) -> SourceBody:
    """Make a tar.gz or zip, told apart by their first bytes, the project's source.

    What is never synced is left out; links, and whatever else is no plain file, are refused.
    """
    project = await visible_project(request, project_id)
    async with _received(request) as archive:
        return await unpack(request.ports, project, archive)


@post(
    "/blobs",
    status_code=200,
    opt=DEPLOY,
    request_max_body_size=MAX_ARCHIVE_BYTES,
    operation_class=_BinaryBody,
    tags=["Sources"],
    summary="Upload many files' bytes at once",
    responses=error_responses(400, 401, 413, 503),
)
async def upload_blobs(request: GatewayRequest) -> BundleBody:
    """Store what a tar.gz or zip holds, each member named by the BLAKE3 digest of its bytes.

    Where many small files are missing, this is several times as fast as to bring them one by one.
    """
    organization_id = _organization_of(request)
    async with _received(request) as archive:
        return await store_bundle(request.ports, organization_id, archive)


@put(
    "/blobs/{digest:str}",
    opt=DEPLOY,
    request_max_body_size=MAX_FILE_BYTES,
    operation_class=_BinaryBody,
    tags=["Sources"],
    summary="Upload one file's bytes",
    responses={201: ResponseSpec(BlobAnswer, description="New to the store", generate_examples=False)}
    | error_responses(400, 401, 413, 503),
)
async def upload_blob(request: GatewayRequest, digest: FromPath[str]) -> Response[BlobAnswer]:
    """Store bytes under their BLAKE3 digest: 201 when they are new to the store, else 200."""
    organization_id = _organization_of(request)
    data = await request.body()
    if not is_digest(digest) or await asyncio.to_thread(digest_of, data) != digest:
        raise ZepidError("SOURCE_INVALID", f"the bytes are not those of the digest {digest[:64]!r}")
    projects = request.ports.projects
    async with projects.keeping_blobs() as held:
        stored = await add(request.ports.artifacts, data)
        await projects.record_blobs(organization_id, {digest: len(data)}, held)
    return Response(BlobAnswer(digest, len(data)), status_code=201 if stored.new else 200)


def _organization_of(request: GatewayRequest) -> str:
    organization_id = request.caller.organization_id or request.query_params.get("orgId")
    if not organization_id:
        raise ValidationFailed({"orgId": ["Organization ID is required"]})
    return organization_id


@asynccontextmanager
async def _received(request: GatewayRequest) -> AsyncIterator[BinaryIO]:
    """Keep a large body in a nameless file for the length of a block."""
    with tempfile.TemporaryFile() as body:
        async for piece in request.stream():
            await asyncio.to_thread(body.write, piece)
        body.seek(0)
        yield body


HANDLERS = [offer_source, upload_source, upload_blobs, upload_blob]
