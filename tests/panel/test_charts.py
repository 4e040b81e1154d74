"""Charts: whatever the numbers are, what is drawn is XML, finite, inside its box, and escaped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.panel.charts import ticks, units
from canary_middleware.panel.charts.drawing import BOTTOM, LEFT, RIGHT, TOP, draw
from canary_middleware.panel.charts.telling import ROWS, described, latest, rows
from canary_middleware.panel.charts.values import Event, Kind, Level, Line, Mark, Picture, Unit

SVG = "{http://www.w3.org/2000/svg}"
SINCE, UNTIL = 1_795_230_000.0, 1_795_233_600.0
numbers = st.one_of(st.none(), st.floats(), st.floats(0, 10), st.integers(0, 10**18).map(float))
moments = st.floats(SINCE - 900, UNTIL + 900)
readings = st.lists(st.tuples(moments, numbers), max_size=30).map(
    lambda found: sorted(found, key=lambda reading: reading[0])
)
some_units = st.sampled_from([units.WEIGHT, units.SHARE, units.RATE, units.LATENCY, units.COUNT])
lines = st.builds(Line, st.text(max_size=20), st.sampled_from(Kind), readings, st.booleans())
marks = st.builds(Mark, moments, st.text(max_size=20), st.sampled_from(Event))
levels = st.builds(Level, st.floats(allow_nan=False), st.text(max_size=20))
pictures = st.builds(
    Picture, st.just("c"), st.text(max_size=20), some_units, st.lists(lines, max_size=3),
    st.just(SINCE), st.sampled_from([SINCE, SINCE + 1, UNTIL]), st.lists(marks, max_size=5),
    st.lists(levels, max_size=3), st.sampled_from([400, 1000]), st.sampled_from([120, 170]),
)  # fmt: skip


def picture(*lines: Line, unit: Unit = units.SHARE, marks: Sequence[Mark] = ()) -> Picture:
    return Picture("c", "errors", unit, lines, SINCE, UNTIL, marks)


def line(*values: float | None, stepped: bool = False, label: str = "1.5.0") -> Line:
    found = [(SINCE + 600 * at, value) for at, value in enumerate(values)]
    return Line(label, Kind.CANARY, found, stepped)


def paths(text: str) -> list[str]:
    root = ET.fromstring(text)
    return [one.attrib["d"] for one in root.iter(f"{SVG}path") if "line" in one.get("class", "")]


@given(pictures)
def test_everything_is_inside_whatever_is_drawn(picture: Picture) -> None:
    root = ET.fromstring(draw(picture))
    assert root.attrib["viewBox"] == f"0 0 {picture.width} {picture.height}"
    for one in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert LEFT - 6 <= float(one.get(name, LEFT)) <= picture.width - RIGHT
        for name in ("y", "y1", "y2", "cy"):
            assert TOP - 4 <= float(one.get(name, TOP)) <= picture.height
        if one.get("class", "").startswith("line"):
            places = re.findall(r"(-?[\d.e+]+) (-?[\d.e+]+)", one.get("d", ""))
            assert places
            for x, y in places:
                assert LEFT <= float(x) <= picture.width - RIGHT
                assert TOP <= float(y) <= picture.height - BOTTOM


@given(pictures)
def test_words_and_tables_of_any_picture(picture: Picture) -> None:
    assert "UTC" in described(picture)
    table = rows(picture)
    assert len(table) <= ROWS
    assert all(len(row) == 1 + len(picture.lines) for row in table)
    assert all(latest(one, picture.unit) for one in picture.lines)


@given(st.text(alphabet="<>&\"'\x1b\u202ea", max_size=40))
def test_no_text_becomes_markup(text: str) -> None:
    drawn = draw(
        Picture(
            "c", text, units.SHARE, [line(0.1, label=text)], SINCE, UNTIL,
            [Mark(SINCE + 60, text)], [Level(0.005, text)],
        )
    )  # fmt: skip
    root = ET.fromstring(drawn)
    known = {"svg", "title", "desc", "line", "text", "path", "circle", "g"}
    assert {one.tag.removeprefix(SVG) for one in root.iter()} <= known
    assert not re.search("[\x1b\u202e]", drawn)
    assert not [name for one in root.iter() for name in one.attrib if name.startswith("on")]
    assert "style" not in drawn


def test_a_gap_stays_a_gap_and_a_lonely_value_is_a_dot() -> None:
    drawn = draw(picture(line(0.1, 0.2, None, 0.3, math.nan, 0.1, 0.1)))
    assert [way.count("L") for way in paths(drawn)] == [1, 1]
    assert drawn.count("<circle") == 1


def test_a_long_line_is_drawn_to_its_end() -> None:
    readings = [(SINCE + at, 0.1) for at in range(3_000)]
    (way,) = paths(draw(picture(Line("1.5.0", Kind.CANARY, readings))))
    assert way.count("L") == 2_999


def test_the_legend_has_the_last_value_that_is_not_old() -> None:
    assert latest(line(0.1, 0.2, None), units.SHARE) == "20%"
    assert latest(line(0.1, None, None, None), units.SHARE) == "-"
    assert latest(line(), units.SHARE) == "-"


def test_a_weight_stays_until_it_changes() -> None:
    (way,) = paths(draw(picture(line(1_000, 50_000, stepped=True), unit=units.WEIGHT)))
    (_, first), (x, held), (at, risen) = (
        tuple(map(float, place.split())) for place in way.removeprefix("M").split("L")
    )
    assert (first, x) == (held, at)
    assert risen < held


def test_what_is_infinite_is_drawn_at_the_upper_edge_and_told_as_over() -> None:
    slow = line(0.2, math.inf, label="1.5.0")
    (way,) = paths(draw(picture(slow, unit=units.LATENCY)))
    assert way.endswith(f" {TOP:g}")
    assert "over 160 s" in described(picture(slow, unit=units.LATENCY))


def test_noise_does_not_look_like_news() -> None:
    (way,) = paths(draw(picture(line(0.0001, 0.0002))))
    assert min(float(y) for y in re.findall(r" ([\d.]+)", way)) > 130


def test_marks_outside_are_not_drawn() -> None:
    drawn = draw(picture(line(0.1), marks=[Mark(SINCE - 1, "before"), Mark(SINCE + 1, "on to 5%")]))
    assert "before" not in drawn
    assert "on to 5%" in drawn


@given(st.floats(1e-9, 1e15), st.integers(1, 8))
def test_axes_end_at_round_numbers_that_hold_everything(largest: float, parts: int) -> None:
    top, step = ticks.upper(largest, parts)
    found = ticks.values(top, step)
    assert found[-1] >= largest * (1 - 1e-6)
    assert len(found) <= parts + 1
    assert f"{step:.10e}"[:3] in {"1.0", "2.0", "2.5", "5.0"}


@given(st.floats(0, 4e9), st.floats(1, 40 * 86_400), st.integers(1, 12))
def test_times_are_round_and_few(since: float, span: float, most: int) -> None:
    found = ticks.times(since, since + span, most)
    assert len(found) <= most + 1
    assert all(since <= at <= since + span for at, _ in found)


@pytest.mark.parametrize(
    ("span", "first"), [(900, "14:25"), (3_600, "14:30"), (21_600, "15:00"), (86_400, "16:00")]
)
def test_times_of_the_four_ranges(span: float, first: str) -> None:
    since = 1_795_271_000.0
    assert ticks.clock(since) == "14:23"
    assert ticks.times(since, since + span)[0][1] == first


def test_values_are_told_in_the_words_of_people() -> None:
    assert [units.SHARE.told(one) for one in (0, 0.0123, 0.5)] == ["0%", "1.2%", "50%"]
    assert [units.RATE.told(one) for one in (0.5, 250, 12_345)] == ["0.5/s", "250/s", "12.3 k/s"]
    assert [units.LATENCY.told(one) for one in (0, 0.12, 2.5)] == ["0 ms", "120 ms", "2.5 s"]
    assert units.WEIGHT.told(25_000) == "25%"
