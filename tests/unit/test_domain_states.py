"""Host names that can be custom domains, and the life of a domain."""

import pytest

from shared.contracts.errors import ZepidError
from shared.domains.hostnames import custom_hostname
from shared.domains.states import ACTIVE_SECONDS, GIVEN_UP_SECONDS, LONGEST_SECONDS, Next, after

EDGE_URL = "https://{site}.sites.zepid.example.org"


@pytest.mark.parametrize(
    ("given", "hostname"),
    [
        ("shop.example.com", "shop.example.com"),
        (" Shop.Example.COM. ", "shop.example.com"),
        ("bücher.example.com", "xn--bcher-kva.example.com"),
        ("BÜCHER.example.com", "xn--bcher-kva.example.com"),
        ("xn--bcher-kva.example.com", "xn--bcher-kva.example.com"),
        ("例え.jp", "xn--r8jz45g.jp"),
        ("a-b.c--d.example.com", "a-b.c--d.example.com"),
        ("example.com", "example.com"),
    ],
)
def test_names_are_taken_in_one_form(given: str, hostname: str) -> None:
    assert custom_hostname(given, EDGE_URL) == hostname


@pytest.mark.parametrize(
    "given",
    [
        "", "shop", "127.0.0.1", "::1", "[::1]", "1.2.3", "*.example.com", "-a.example.com", "a-.example.com",
        "a_b.example.com", "a..example.com", "a b.example.com", "a.example.com:80", "http://a.example.com", "a/b.com",
        f"{'a' * 64}.com", f"{'a.' * 130}com", "a.localhost", "printer.local", "a.test", "a.internal", "example",
        "shop.sites.zepid.example.org", "sites.zepid.example.org", "a.b.sites.zepid.example.org", "nul\0.example.com",
        "\u2024.com", "xn--a.com\u3002",
    ],
)  # fmt: skip
def test_what_nobody_can_own_is_refused(given: str) -> None:
    with pytest.raises(ZepidError) as refused:
        custom_hostname(given, EDGE_URL)
    assert refused.value.code.name == "DOMAIN_INVALID"


def test_a_proved_domain_is_verified_and_becomes_active_when_it_is_seen() -> None:
    assert after("pending", "", 7, 600.0) == Next("verified", "", 0, 0.0)
    assert after("verified", "", 3, 600.0) == Next("active", "", 0, ACTIVE_SECONDS)
    assert after("active", "", 0, 600.0) == Next("active", "", 0, ACTIVE_SECONDS)


def test_what_is_missing_is_tried_again_ever_more_rarely() -> None:
    delays = [after("pending", "no record", tries, 0.0).seconds for tries in range(20)]
    assert delays[:4] == [10.0, 20.0, 40.0, 80.0]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_SECONDS


def test_a_claim_nobody_proves_fails_after_a_week_and_a_proved_one_never() -> None:
    failed = after("pending", "There is no TXT record", 170, GIVEN_UP_SECONDS)
    assert (failed.state, failed.seconds) == ("failed", None)
    assert failed.fault == "Given up after 7 days. There is no TXT record"
    assert after("verified", "no address", 500, GIVEN_UP_SECONDS * 50).state == "verified"


def test_an_active_domain_that_leads_elsewhere_is_only_verified_again() -> None:
    assert after("active", "leads elsewhere", 0, 1e6) == Next("verified", "leads elsewhere", 1, 10.0)
