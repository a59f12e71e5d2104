"""Which files of a source tree are never synced: exact path segments and file names, never substrings.

The command line applies it to folders, the gateway to archives; both must agree, or the same tree
would have two digests.
"""

_SEGMENTS = frozenset(
    {
        "node_modules",
        ".git",
        "dist",
        ".next",
        ".nuxt",
        ".output",
        "coverage",
        ".nyc_output",
        ".cache",
        ".parcel-cache",
        ".DS_Store",
        "Thumbs.db",
        ".env",
        ".zepid",
    }
)
_ROOT_SEGMENT = "build"
_SECRET_PREFIX = ".env."
_SECRET_EXAMPLE = ".env.example"
_FILE_SUFFIXES = (".log", ".tmp", ".temp")

MAX_FILES = 20_000
"""Files one source tree or release may hold."""

MAX_FILE_BYTES = 25 * 1024 * 1024
"""Bytes one file may have."""


def is_synced(path: str) -> bool:
    """Whether a file belongs to the source.

    Args:
        path: the file, relative to the project's root, with `/` between segments.
    """
    segments = path.split("/")
    return _segments_synced(segments) and not segments[-1].endswith(_FILE_SUFFIXES)


def may_hold_synced(folder: str) -> bool:
    """Whether a folder (relative path, `/` between segments) can hold a file that belongs to the source."""
    return _segments_synced(folder.split("/"))


def _segments_synced(segments: list[str]) -> bool:
    return segments[0] != _ROOT_SEGMENT and not any(map(_excluded, segments))


def _excluded(segment: str) -> bool:
    return segment in _SEGMENTS or (segment.startswith(_SECRET_PREFIX) and segment != _SECRET_EXAMPLE)
