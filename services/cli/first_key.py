"""The key with which all others are made, where no `zepid up` made one."""

import typer

from shared.adapters.postgres.database import open_pool
from shared.adapters.postgres.tokens import Tokens

_OPERATOR = "operator"


async def make_first_key(postgres_url: str) -> None:
    """Make a key for everything and print its token; where there is one already, say so and make none."""
    pool = await open_pool(postgres_url, size=1)
    try:
        tokens = Tokens(pool)
        if await tokens.operated():
            typer.echo("There is a key that may do everything already; `zepid token ls` shows it.", err=True)
            return
        _, token = await tokens.create("first key", ["admin"], None, _OPERATOR)
    finally:
        await pool.close()
    typer.echo(token)
