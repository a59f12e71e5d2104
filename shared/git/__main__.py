"""The program that runs in the sandbox: fetch, write the files, print a report."""

import os
import resource
import sys
import tempfile
from pathlib import Path

import msgspec

from shared.contracts.errors import ZepidError
from shared.git.address import checked_ref, checked_url
from shared.git.checkout import Checkout
from shared.git.fetch import fetch
from shared.git.report import Assignment, Report
from shared.networks import networks_of

_MEMORY_BYTES = 2 << 30
_LONGEST_MESSAGE = 500


def main() -> None:
    """Do what `ZEPID_GIT` says; the last line of the output is a `Report`."""
    assignment = msgspec.json.decode(os.environ["ZEPID_GIT"], type=Assignment)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (assignment.seconds, assignment.seconds))
    sys.stdout.write(msgspec.json.encode(_done(assignment)).decode() + "\n")


def _done(assignment: Assignment) -> Report:
    try:
        return _fetched(assignment)
    except ZepidError as error:
        return Report(code=error.code.name, message=_printable(error.message))
    except OSError as error:
        return Report(code="SOURCE_GIT_INVALID", message=f"The tree can't be written as files: {error.strerror}")
    except MemoryError:
        return Report(code="SOURCE_GIT_TOO_LARGE", message="The repository needs too much memory to be unpacked")
    except Exception as error:  # noqa: BLE001 - the boundary: a hostile answer may break the library anywhere
        return Report(
            code="SOURCE_GIT_INVALID", message=f"What the git server sent can't be read: {type(error).__name__}"
        )


def _fetched(assignment: Assignment) -> Report:
    allowed = networks_of(assignment.allowed_networks)
    checked_url(assignment.url, allowed)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "repository"
        repository, commit = fetch(assignment.url, checked_ref(assignment.ref), place, allowed, assignment.max_bytes)
        checkout = Checkout(repository.object_store, commit.tree)
        checkout.write(Path(assignment.folder))
    return Report(commit=commit.id.decode(), warnings=[_printable(warning) for warning in checkout.warnings])


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:_LONGEST_MESSAGE]


if __name__ == "__main__":
    main()
