"""`zepid dlq`: the dead letters, for operators."""

from typing import Annotated, Literal

import typer

from services.cli.errors import FAILED
from services.cli.options import Json, Token, Url

Sequence = Annotated[int, typer.Argument(metavar="SEQ", min=1, help="The letter; `zepid dlq ls` shows it.")]
Reason = Annotated[
    Literal["max_retries_exceeded", "processing_timeout", "invalid_message", "system_error"] | None,
    typer.Option("--reason", help="Only those that died of this."),
]
Step = Annotated[str | None, typer.Option("--step", help="Only those of this step, such as build.")]
Organization = Annotated[str | None, typer.Option("--org", metavar="ID", help="Only those of this organisation.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    dlq = typer.Typer(help="Dead letters: what the pipeline gave up, and trying it again.", no_args_is_help=True)
    dlq.command("ls", epilog="Example: zepid dlq ls --step build")(list_)
    dlq.command(epilog="Example: zepid dlq show 12")(show)
    dlq.command(epilog="Example: zepid dlq redrive --all --reason max_retries_exceeded --rate 5")(redrive)
    dlq.command(epilog="Example: zepid dlq discard 12 --reason 'a test message'")(discard)
    app.add_typer(dlq, name="dlq")


def list_(
    reason: Reason = None,
    step: Step = None,
    org: Organization = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many.")] = 50,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List dead letters, newest first."""
    from services.cli.letters import Choice, list_letters
    from services.cli.session import run_with_client

    chosen = Choice(reason, step, org)
    run_with_client(url, token, lambda client: list_letters(client, chosen, limit=limit, as_json=as_json))


def show(sequence: Sequence, as_json: Json = False, url: Url = None, token: Token = None) -> None:
    """Show a whole letter: why it died, attempt by attempt, and where its deployment stands now."""
    from services.cli.letters import show_letter
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: show_letter(client, sequence, as_json=as_json))


def redrive(
    sequences: Annotated[list[int] | None, typer.Argument(metavar="[SEQ]...", min=1, help="The letters.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="All letters that fit the options.")] = False,
    reason: Reason = None,
    step: Step = None,
    org: Organization = None,
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1000, help="Letters a second.")] = 5.0,
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Deploy again what died: a new deployment from the same snapshot for each letter.

    A letter that is refused stays. Exit code: 1 when any was.
    """
    from services.cli.letters import Choice, redrive_all, redrive_each
    from services.cli.redriving import Redriving
    from services.cli.session import run_with_client

    if all_ == bool(sequences):
        raise typer.BadParameter("name letters (zepid dlq ls shows them), or use --all")
    if sequences and (reason or step or org):
        raise typer.BadParameter("--reason, --step and --org choose among --all letters")
    with Redriving(as_json=as_json) as redriving:
        run_with_client(
            url,
            token,
            lambda client: (
                redrive_each(client, sequences, rate, redriving)
                if sequences
                else redrive_all(client, Choice(reason, step, org), rate, redriving)
            ),
        )
    if redriving.refused:
        raise typer.Exit(FAILED)


def discard(
    sequences: Annotated[list[int], typer.Argument(metavar="SEQ...", min=1, help="The letters.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept in the journal.")],
    as_json: Json = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """Remove letters for good, with a reason."""
    from services.cli.letters import discard_letters
    from services.cli.session import run_with_client

    run_with_client(url, token, lambda client: discard_letters(client, sequences, reason, as_json=as_json))
