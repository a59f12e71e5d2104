"""A release as the upload of a script: its metadata and its modules. Building it touches nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shared.adapters.publishers.cloudflare.api import Part
from shared.assets import AssetTree
from shared.hosting import AssetRules, Hosting, NotFoundHandling
from shared.ports import Manifest
from shared.release_header import RELEASE_HEADER

WORKER_TAG = "zepid-worker"
"""Says that a script answers by itself, so that not every answer carries the release's header."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A release to be brought to Cloudflare; `variables` are never logged."""

    site: str
    release: str
    manifest: Manifest
    variables: Mapping[str, str] = field(default_factory=dict)


def metadata_of(publication: Publication, tree: AssetTree, jwt: str) -> dict[str, Any]:
    """Return the script's metadata.

    Args:
        publication: the release.
        tree: its assets.
        jwt: the token that attaches the uploaded assets; "" when it has none.
    """
    hosting = publication.manifest.served
    metadata: dict[str, Any] = {"tags": tags_of(publication)}
    if hosting.worker is not None:
        metadata["main_module"] = hosting.worker.main
        metadata["bindings"] = bindings_of(hosting, publication.variables)
    if hosting.compatibility_date:
        metadata["compatibility_date"] = hosting.compatibility_date
    metadata["compatibility_flags"] = list(hosting.compatibility_flags)
    if hosting.assets is not None and jwt:
        metadata["assets"] = {"jwt": jwt, "config": config_of(publication.manifest, tree, publication.release)}
    return metadata


def tags_of(publication: Publication) -> list[str]:
    """Return the tags by which a script is known to be this release."""
    return [publication.release, WORKER_TAG] if publication.manifest.served.worker else [publication.release]


def bindings_of(hosting: Hosting, variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the Worker finds in its environment; the project's variables, which are secret, win."""
    worker, assets = hosting.worker, hosting.assets
    bindings: list[dict[str, Any]] = []
    for name, value in (worker.variables if worker else {}).items():
        if name not in variables:
            kind = {"type": "plain_text", "text": value} if isinstance(value, str) else {"type": "json", "json": value}
            bindings.append({"name": name, **kind})
    bindings += [{"name": name, "type": "secret_text", "text": text} for name, text in sorted(variables.items())]
    if assets and assets.binding:
        bindings.append({"name": assets.binding, "type": "assets"})
    return bindings


def config_of(manifest: Manifest, tree: AssetTree, release: str) -> dict[str, Any]:
    """Return how the assets answer: the project's rules, and in front of them the header that names the release."""
    rules = manifest.served.assets or AssetRules()
    not_found = rules.not_found_handling if manifest.hosting else nearest_to_edge(tree)
    worker_first = rules.run_worker_first if manifest.served.worker else None
    config: dict[str, Any] = msgspec.to_builtins(AssetRules(rules.html_handling, not_found, worker_first))
    if tree.redirects is not None:
        config["_redirects"] = tree.redirects
    config["_headers"] = release_rule(release) + (tree.headers or "")
    return config


def nearest_to_edge(tree: AssetTree) -> NotFoundHandling | None:
    """Return the setting that comes nearest to how the edge answers where a project has no configuration.

    The edge goes by each request; here one rule holds for all. So a missing script or image of an application is
    answered with its page, and a 404.html in a folder counts only where there is one at the top, too.
    """
    if "404.html" in tree.files:
        return "404-page"
    return "single-page-application" if "index.html" in tree.files else None


def release_rule(release: str) -> str:
    """Return the lines of `_headers` by which every asset names its release."""
    return f"/*\n  {RELEASE_HEADER}: {release}\n"


def script_parts(metadata: Mapping[str, Any], modules: Mapping[str, tuple[str, bytes]]) -> list[Part]:
    """Return the multipart body: the metadata as a plain field, and each module under its name."""
    form: list[Part] = [("metadata", (None, msgspec.json.encode(metadata), None))]
    return form + [(name, (name, data, media_type)) for name, (media_type, data) in modules.items()]
