"""What stops a command before the service is asked, and what each ending returns to the shell."""

COMPLETED = 0
FAILED = 1
MISUSED = 2
REFUSED = 3
INTERRUPTED = 130


class CommandError(Exception):
    """Root: the text says what is wrong, where, and what to do.

    Attributes:
        exit_code: what the shell is told.
        code: the row of the error table in JSON output.
    """

    exit_code = MISUSED
    code = "INVALID_REQUEST"


class NoConnection(CommandError):
    """No server is known, or the file that names it cannot be used."""

    exit_code = REFUSED
    code = "SERVICE_UNAVAILABLE"


class SourceRefused(CommandError):
    """The folder cannot be deployed as it is."""

    code = "SOURCE_INVALID"


class ProjectUnclear(CommandError):
    """It cannot be told which project is meant."""

    code = "INVALID_PROJECT_ID"
