"""What the fetching program is told, and what it prints as its last line."""

import msgspec


class Report(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a fetch went.

    Attributes:
        commit: id of the commit whose files were written; "" when it failed.
        warnings: what was left out.
        code: of the error, "" when there was none.
        message: of the error.
    """

    commit: str = ""
    warnings: list[str] = []
    code: str = ""
    message: str = ""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What to fetch, in the environment variable `ZEPID_GIT`.

    Attributes:
        url, ref: the repository; ref "" = its default branch.
        folder: where the files go.
        allowed_networks: as the setting GIT_ALLOWED_NETWORKS.
        max_bytes: of the pack.
        seconds: of processor time.
    """

    url: str
    folder: str
    ref: str = ""
    allowed_networks: str = ""
    max_bytes: int = 250 * 1024 * 1024
    seconds: int = 120
