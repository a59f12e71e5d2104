"""How a release is to be served besides its files: frozen with them, so that a rollback restores it.

The names and values are Cloudflare's (`wrangler.jsonc`), for whoever serves the release.
"""

from typing import Any, Literal

import msgspec

HtmlHandling = Literal["auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"]
NotFoundHandling = Literal["none", "404-page", "single-page-application"]


class AssetRules(msgspec.Struct, frozen=True, omit_defaults=True):
    """How static files answer; None where the project does not say.

    Attributes:
        run_worker_first: paths (`/api/*`, `!/api/docs`) that the Worker answers before assets; True: all.
        binding: the name under which the Worker reaches the assets, or "".
    """

    html_handling: HtmlHandling | None = None
    not_found_handling: NotFoundHandling | None = None
    run_worker_first: bool | tuple[str, ...] | None = None
    binding: str = ""


class Module(msgspec.Struct, frozen=True, omit_defaults=True):
    """One module of a Worker: a blob, and what it is.

    Attributes:
        type: media type, `application/javascript+module` for an ES module.
    """

    digest: str
    size: int
    type: str = "application/javascript+module"


class WorkerScript(msgspec.Struct, frozen=True, omit_defaults=True):
    """The script of a project: bundled modules by name (`index.js`), the one that is entered, its variables.

    Attributes:
        variables: `vars` of the configuration; text, or any other JSON value.
    """

    main: str
    modules: dict[str, Module]
    variables: dict[str, Any] = {}


class Hosting(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a release says about how it is served; the default is a plain static site.

    Attributes:
        assets: rules of the static files; None: there are none, only a Worker.
        worker: the script; None: static files alone.
    """

    compatibility_date: str = ""
    compatibility_flags: tuple[str, ...] = ()
    assets: AssetRules | None = AssetRules()
    worker: WorkerScript | None = None


STATIC = Hosting()
"""A plain static site."""
