"""Which git servers are asked."""

import pytest

from shared.contracts.errors import ZepidError
from shared.git.address import checked_ref, checked_url, resolve
from shared.networks import networks_of

LOOPBACK = networks_of("127.0.0.0/8, ::1/128")


@pytest.mark.parametrize(
    "url", ["https://git.example.com/a/b.git", "https://git.example.com:8443/b", "https://[2606:4700::1]/b"]
)
def test_a_public_repository_by_https_is_asked(url):
    assert checked_url(url, ()).hostname


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://git.example.com/a", "https"),
        ("git@git.example.com:a/b.git", "https"),
        ("ssh://git.example.com/a", "https"),
        ("file:///etc", "https"),
        ("https:///a", "name a host"),
        ("https://user:secret@git.example.com/a", "user or password"),
        ("https://token@git.example.com/a", "user or password"),
        ("https://git.example.com/a?x=1", "query"),
        ("https://git.example.com/a#x", "fragment"),
        ("https://git.example.com:99999/a", "can't be read"),
        ("https://git.example.com/a b", "printable"),
        ("https://git.example.com/" + "a" * 2000, "2000"),
        ("https://127.0.0.1/a", "not public"),
        ("https://10.1.2.3/a", "not public"),
        ("https://169.254.169.254/a", "not public"),
        ("https://[::1]/a", "not public"),
        ("https://[::ffff:10.0.0.1]/a", "not public"),
        ("https://[64:ff9b::a00:1]/a", "not public"),
        ("https://[2002:a00:1::]/a", "not public"),
        ("https://[fe80::1]/a", "not public"),
        ("https://0.0.0.0/a", "not public"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(url, said):
    with pytest.raises(ZepidError, match=said) as refusal:
        checked_url(url, ())
    assert refusal.value.code.name == "SOURCE_GIT_REFUSED"
    assert "secret" not in refusal.value.message


def test_allowed_networks_may_be_asked_by_http_too_and_only_they():
    assert checked_url("http://127.0.0.1:8000/a", LOOPBACK)
    assert resolve("localhost", 80, LOOPBACK, only_allowed=True)
    with pytest.raises(ZepidError, match="not public"):
        checked_url("http://10.0.0.1/a", LOOPBACK)
    with pytest.raises(ZepidError, match="must be asked by https"):
        resolve("1.1.1.1", 80, LOOPBACK, only_allowed=True)


def test_a_name_that_leads_to_a_private_address_is_refused_when_it_is_resolved():
    assert checked_url("https://localhost/a", ())
    with pytest.raises(ZepidError, match="which is not public"):
        resolve("localhost", 443, ())


@pytest.mark.parametrize("ref", ["", "main", "feature/x", "v1.0", "0" * 40])
def test_a_ref_is_a_branch_a_tag_or_a_commit(ref):
    assert checked_ref(ref) == ref


@pytest.mark.parametrize("ref", ["-x", "a b", "a..b", "a:b", "a^", "x" * 300, "a\n"])
def test_what_is_no_ref_is_refused(ref):
    with pytest.raises(ZepidError, match="not the name"):
        checked_ref(ref)
