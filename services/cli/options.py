"""Options that several commands share."""

from typing import Annotated

import typer

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="The server. [ZEPID_URL; default: the one `zepid up` started]"),
]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", help="The token; better in ZEPID_TOKEN than on the command line."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

Project = Annotated[
    str | None, typer.Option("--project", metavar="ID", help="The project. [default: that of this folder]")
]
