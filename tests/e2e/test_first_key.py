"""The first key of a service that no `zepid up` has started."""

import httpx
import pytest

from services.cli.first_key import make_first_key
from tests.stand import Stand


async def test_the_first_key_may_do_everything_and_is_made_once(
    stand: Stand, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await make_first_key(database_url)
    token = capsys.readouterr().out.strip()
    async with httpx.AsyncClient(base_url=stand.url, headers={"authorization": f"Bearer {token}"}) as client:
        identity = (await client.get("/whoami")).json()
    assert (identity["organizationId"], identity["scopes"]) == (None, ["admin"])
    await make_first_key(database_url)
    assert capsys.readouterr().out == ""
