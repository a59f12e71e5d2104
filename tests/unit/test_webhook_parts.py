"""Which addresses webhooks may reach, and how patient their sender is."""

import pytest

from services.webhooks.patience import FAILING, Patience
from shared.contracts.errors import ZepidError
from shared.public_targets import check_url, public_addresses
from shared.settings import InvalidSettings, Settings, load_settings

LOOPBACK = Settings(webhook_allowed_networks="127.0.0.0/8, fd00:1::/64").webhook_networks


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1",
        "100.64.0.1", "169.254.169.254",
        "168.63.129.16", "100.100.100.200", "224.0.0.1", "255.255.255.255", "192.0.0.192",
        "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2001:db8::1", "2001:2::1", "5f00::1", "::7f00:1", "no-such-host.invalid",
    ],
)  # fmt: skip
async def test_what_is_not_public_is_refused(host: str) -> None:
    with pytest.raises(ZepidError) as caught:
        await public_addresses(host, 443, ())
    assert caught.value.code.name == "WEBHOOK_URL_REFUSED"


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
async def test_public_addresses_may_be_reached(address: str) -> None:
    assert await public_addresses(address, 443, ()) == [address]


async def test_settings_allow_networks_and_nothing_beside_them() -> None:
    assert await public_addresses("127.0.0.5", 80, LOOPBACK) == ["127.0.0.5"]
    assert await public_addresses("fd00:1::7", 80, LOOPBACK) == ["fd00:1::7"]
    for host in ("10.0.0.1", "fd00:2::7"):
        with pytest.raises(ZepidError):
            await public_addresses(host, 80, LOOPBACK)
    with pytest.raises(InvalidSettings, match="WEBHOOK_ALLOWED_NETWORKS"):
        load_settings({"WEBHOOK_ALLOWED_NETWORKS": "10.0.0.1/8"})


@pytest.mark.parametrize(
    "url",
    [
        "", "8.8.8.8", "ftp://8.8.8.8/", "https://", "https://user:word@8.8.8.8/", "https://8.8.8.8/#part",
        "http://8.8.8.8/", "https://8.8.8.8:99999/", "https://8.8.8.8:0/", "https://[::1", "https://8.8.8.8/a b",
        "https://8.8.8.8/\r\nX: y", "https://8.8.8.8/\x00",
        "https://ex\u00e4mple.com/", "https://8.8.8.8/" + "a" * 2000, "https://127.0.0.1/",
    ],
)  # fmt: skip
async def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ZepidError) as caught:
        await check_url(url, ())
    assert caught.value.code.name == "WEBHOOK_URL_REFUSED"


async def test_urls_that_are_taken() -> None:
    await check_url("https://8.8.8.8:8443/hook?a=b", ())
    await check_url("http://127.0.0.1:9000/hook", LOOPBACK)


def test_tries_go_on_over_hours_and_end() -> None:
    patience = Patience(disabled_after_seconds=1)
    waits = [patience.retry_seconds(tries) for tries in range(1, 13)]
    assert waits.pop() is None
    assert 4 <= waits[0] <= 6
    assert 20 * 3600 < sum(wait for wait in waits if wait) < 48 * 3600
    assert max(wait for wait in waits if wait) <= 1.2 * 6 * 3600


def test_an_endpoint_may_ask_for_more_time_but_not_for_ever() -> None:
    patience = Patience(disabled_after_seconds=1)
    assert patience.retry_seconds(1, asked=60) == 60
    assert patience.retry_seconds(1, asked=1e9) == patience.longest_seconds


def test_pauses_grow_with_failures_in_a_row() -> None:
    patience = Patience(disabled_after_seconds=1)
    assert [patience.pause_seconds(failures) for failures in (1, FAILING - 1, FAILING, FAILING + 3)] == [0, 0, 1, 8]
    assert patience.pause_seconds(10_000) == patience.longest_pause_seconds
