"""Values of variables in what a build prints."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.steps.build.masking import MASK, Mask, MaskedLines

SECRET = "s3cr3t/with+odd=chars\"and 'quotes'"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----\n"


def printed(values: list[str], *lines: str) -> list[str]:
    out: list[str] = []
    masked = MaskedLines(Mask(values), lambda stream, line: out.append(line))
    for line in lines:
        masked.add("stdout", line)
    masked.close()
    return out


@pytest.mark.parametrize("shown", [SECRET, json.dumps(SECRET), quote(SECRET), quote(SECRET, safe="")])
def test_a_value_is_hidden_in_the_forms_in_which_tools_print_it(shown: str) -> None:
    [line] = printed([SECRET], f"before {shown} after")
    assert MASK in line
    assert "s3cr3t" not in line
    assert line.startswith("before ")
    assert line.endswith(" after")


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
def test_a_value_is_hidden_in_base64_at_any_offset(before: str) -> None:
    encoded = base64.b64encode(f"{before}{SECRET}:tail".encode()).decode()
    [line] = printed([SECRET], encoded)
    assert MASK in line
    assert len(line) < 20 + len(before)


def test_each_line_of_a_value_is_hidden_and_its_json_too() -> None:
    assert printed([PEM], *PEM.splitlines()) == [MASK] * 4
    assert printed([PEM], json.dumps({"key": PEM})) == [f'{{"key": "{MASK}\\n"}}']


@given(st.text("abAB+/=%'\"\\", min_size=8), st.data())
def test_a_value_broken_over_lines_is_hidden(secret: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(4, len(secret) - 1))
    shown = "".join(printed([secret], f"## {secret[:cut]}", f"{secret[cut:]} ##"))
    assert MASK in shown
    assert secret not in shown


def test_a_line_that_only_looks_like_a_beginning_is_kept_as_it_is() -> None:
    lines = ["it ends with s3cr3t/with", "and goes on", "s3cr3t/with+odd"]
    assert printed([SECRET], *lines) == lines


def test_words_that_say_nothing_and_short_values_are_left_alone() -> None:
    assert printed(["true", "production", "80"], "production is true at 80") == ["production is true at 80"]


def test_of_two_values_the_longer_is_hidden_whole() -> None:
    assert printed(["abcdef", "abcdefghij"], "x abcdefghij y abcdef") == [f"x {MASK} y {MASK}"]


def test_a_large_value_costs_little() -> None:
    value = "\n".join(f"{number:08d}-line-of-a-key" for number in range(1000))
    assert printed([value], *["a line of a build's output"] * 200) == ["a line of a build's output"] * 200
