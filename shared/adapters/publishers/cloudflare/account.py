"""The scripts of an account, in a dispatch namespace or outside of one."""

from typing import Any

from shared.adapters.publishers.cloudflare.api import CloudflareApi, CloudflareRefusal
from shared.adapters.publishers.cloudflare.assets import Hashes, TokenExpired, is_expired, upload_assets
from shared.adapters.publishers.cloudflare.script import Publication, metadata_of, script_parts, tags_of
from shared.assets import AssetTree, asset_tree
from shared.blobs import load
from shared.contracts.errors import ZepidError
from shared.ports import Manifest, Objects

SESSIONS = 3
"""Uploads begun for one publication before its tokens are said to expire too fast."""

Modules = dict[str, tuple[str, bytes]]
"""Media type and bytes of a script's modules, by name."""


class Account:
    """What can be done with scripts, through one connection to the API.

    Args:
        api: the connection.
        namespace: dispatch namespace, or "".
        objects: the bucket with the blobs.
        hashes: Cloudflare's names of blobs, kept between connections.
    """

    def __init__(self, api: CloudflareApi, namespace: str, objects: Objects, hashes: Hashes) -> None:
        self._api = api
        self._namespace = namespace
        self._objects = objects
        self._hashes = hashes

    async def check(self) -> None:
        """See that the token works and the namespace exists, before anything is uploaded.

        Raises:
            ZepidError: PUBLISH_UNAUTHORIZED, PUBLISH_TARGET_MISSING, or what a call raises.
        """
        token = await self._api.call("GET", "/user/tokens/verify")
        if token.get("status") != "active":
            raise ZepidError("PUBLISH_UNAUTHORIZED", f"Cloudflare says that the API token is {token.get('status')}")
        if self._namespace:
            await self._api.call("GET", f"{self._api.account}/workers/dispatch/namespaces/{self._namespace}")

    async def serve(self, publication: Publication) -> None:
        """Put a release in force, unless it is.

        Raises:
            ZepidError: PUBLISH_…; what the bucket raises.
        """
        if not set(tags_of(publication)) <= await self.tags(publication.site):
            await self._upload(publication)
        if not self._namespace:
            await self._api.call("POST", f"{self._script(publication.site)}/subdomain", json={"enabled": True})

    async def tags(self, site: str) -> set[str]:
        """Return the tags of the script that is in force; none where there is no script."""
        try:
            settings = await self._api.call("GET", f"{self._script(site)}/settings")
        except CloudflareRefusal as refusal:
            if refusal.is_missing:
                return set()
            raise
        return set(settings.get("tags") or ())

    async def remove(self, site: str) -> None:
        """Delete a script; fine if there is none."""
        try:
            await self._api.call("DELETE", f"{self._script(site)}?force=true")
        except CloudflareRefusal as refusal:
            if not refusal.is_missing:
                raise

    async def _upload(self, publication: Publication) -> None:
        """Upload assets and script; when a token expires on the way, begin again with what is still missing."""
        tree = await asset_tree(publication.manifest, self._objects)
        modules = await self._modules(publication.manifest)
        for _ in range(SESSIONS):
            try:
                jwt = await self._attach(publication, tree)
                await self._put(publication.site, metadata_of(publication, tree, jwt), modules, jwt)
            except TokenExpired:
                continue
            return
        raise ZepidError("PUBLISH_FAILED", f"Cloudflare's upload tokens expired {SESSIONS} times during the upload")

    async def _attach(self, publication: Publication, tree: AssetTree) -> str:
        """Upload the assets; return the token that attaches them, "" if the release has none."""
        if publication.manifest.served.assets is None:
            return ""
        assets = await self._hashes.of(tree.files)
        return (await upload_assets(self._api, self._objects, self._script(publication.site), assets)).jwt

    async def _modules(self, manifest: Manifest) -> Modules:
        worker = manifest.served.worker
        modules = worker.modules.items() if worker else ()
        return {name: (module.type, await load(self._objects, module.digest, name)) for name, module in modules}

    async def _put(self, site: str, metadata: dict[str, Any], modules: Modules, jwt: str) -> None:
        try:
            await self._api.call("PUT", self._script(site), parts=script_parts(metadata, modules))
        except CloudflareRefusal as refusal:
            if jwt and is_expired(jwt):
                raise TokenExpired from refusal
            raise

    def _script(self, site: str) -> str:
        inside = f"/dispatch/namespaces/{self._namespace}" if self._namespace else ""
        return f"{self._api.account}/workers{inside}/scripts/{site}"
