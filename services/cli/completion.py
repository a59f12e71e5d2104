"""`zepid completion`: what a shell needs to complete command lines."""

from typing import Annotated, Literal

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog='Example: eval "$(zepid completion bash)" in ~/.bashrc')(completion)


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="For which shell.")]) -> None:
    """Print the shell's completion script.

    bash and zsh: eval "$(zepid completion SHELL)". fish: zepid completion fish | source.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from services.cli.main import COMPLETE

    typer.echo(get_completion_script(prog_name="zepid", complete_var=COMPLETE, shell=shell))
