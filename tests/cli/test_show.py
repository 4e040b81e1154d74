"""Escaping, truncating and aligning, by themselves."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.cli.show import Row, print_json, print_table
from canary_middleware.overview.wording import LONGEST, ago, instant, shown


@given(st.text())
def test_shown_text_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert text != shown(text) or (text.isprintable() and len(text) <= LONGEST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("a\nb\r", "a\\nb\\r"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202eabc", "\\u202eabc"),
        ("\ud800", "\\ud800"),
        ("x" * 600, "x" * 600),
        ("x" * 601, "x" * 597 + "..."),
    ],
)
def test_what_text_becomes(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_json_is_escaped_all_the_way_down(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a\x1b": ["b\n", {"c": "d" * 700}], "n": 1, "none": None})
    found = json.loads(capsys.readouterr().out)
    assert found == {"a\\x1b": ["b\\n", {"c": "d" * 597 + "..."}], "n": 1, "none": None}


def test_json_has_no_infinity(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": math.inf, "b": [math.nan, 1.5]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5]}


def test_columns_count_cells_and_not_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A", "B"), [Row(("東京", "1")), Row(("e\u0301", "2")), Row(("abcd", "3"))])
    assert capsys.readouterr().out.splitlines() == [
        "A     B",
        "東京  1",
        "e\u0301     2",
        "abcd  3",
    ]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (3 * 86400, "3 d")],
)
def test_ages(seconds: float, expected: str) -> None:
    assert ago(seconds) == expected


def test_instants_hold_what_the_codec_lets_in() -> None:
    assert instant(0) == "1970-01-01 00:00:00"
    assert instant(1e11).startswith("5138-")
