from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.weight import FULL, format_weight, parse_weight


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0%", 0), ("-0%", 0), ("0.000%", 0), ("0.001%", 1), (".5%", 500), ("5%", 5_000),
        ("5 %", 5_000), ("  5%  ", 5_000), ("05%", 5_000), ("5.0000000%", 5_000),
        ("33.333%", 33_333), ("99.999%", 99_999), ("100%", FULL), ("1e1%", 10_000),
    ],
)  # fmt: skip
def test_reads(text: str, units: int) -> None:
    assert parse_weight(text) == units


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (5, "bare number"), (0, "bare number"), (True, "bare number"), (None, "bare number"),
        (0.05, "bare number"), (b"5%", "bare number"), (["5%"], "bare number"),
        ("5", 'write "5%"'), ("", 'write "5%"'), (".5", 'write "50%" for the fraction, or ".5%"'),
        ("0.05", 'write "5%" for the fraction, or "0.05%"'), ("1.0", '"100%" for the fraction'),
        ("1.5", 'write "1.5%"'), ("5%%", "not a percentage"),
        ("%", "not a percentage"), ("five%", "not a percentage"), ("5\x00%", "not a percentage"),
        ("1/2%", "not a percentage"), ("sNaN%", "outside"), ("NaN%", "outside"),
        ("-1%", "outside"), ("-0.001%", "outside"), ("100.001%", "outside"), ("inf%", "outside"),
        ("-Infinity%", "outside"), ("1e999999%", "outside"), ("1e99999999999%", "outside"),
        ("0.0005%", "finer"), ("1e-9999999%", "finer"), ("99.9999%", "finer"),
        # Arithmetic in decimal's 28 digits rounds these two to a valid weight.
        ("5.00000000000000000000000000000000001%", "finer"),
        ("99.99999999999999999999999999999999999%", "finer"),
    ],
)  # fmt: skip
def test_refuses_and_says_why(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_weight(text)


def test_every_weight_survives_writing_and_reading() -> None:
    assert all(parse_weight(format_weight(units)) == units for units in range(FULL + 1))


def test_writes_without_trailing_zeros() -> None:
    written = [format_weight(units) for units in (0, 1, 10, 500, 5_000, 12_340, FULL)]
    assert written == ["0%", "0.001%", "0.01%", "0.5%", "5%", "12.34%", "100%"]


@given(st.text())
def test_any_text_is_a_weight_or_a_value_error(text: str) -> None:
    for candidate in (text, text + "%"):
        try:
            units = parse_weight(candidate)
        except ValueError:
            continue
        assert 0 <= units <= FULL
