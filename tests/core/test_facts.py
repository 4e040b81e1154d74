"""What a process says of itself: bounded, read leniently, and understood by older versions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.codec import decode_report, encode_report
from canary_middleware.core.facts import (
    LONGEST,
    MOST,
    Cookies,
    Facts,
    Traced,
    facts_of,
    facts_text,
    fingerprint,
)
from canary_middleware.core.reading import MAX_TEXT
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan

FULL = Facts(
    library="0.1.0",
    python="3.11.9",
    wall=1_790_000_000.25,
    uptime=12.5,
    signs=("aabbccdd", "11223344"),
    buckets="99887766",
    cookies=Cookies("on", 5, 4, 3),
    traced=Traced("annotate", "TracerProvider", 9, 1, 2, 3, 4),
    server="uwsgi",
    threads=False,
    preloaded=True,
    forked=True,
    turn=0.5,
    stall=1.25,
    troubles=("store", "reports"),
    max_staleness=60.0,
    poll=0.8,
    snapshot=True,
)
REPORT = ProcessReport("id", "host", 7, "asgi", 3, 0.5, {"checkout": Plan("1", "2")})
BEFORE = {
    "id", "host", "pid", "kind", "revision", "staleness", "plans", "in_flight", "at", "kill_file",
    "streams", "silent",
}  # fmt: skip
"""Members of a report that a process from before there were facts takes; any other it refuses."""


@pytest.mark.parametrize("facts", [Facts(), FULL, Facts(troubles=("x" * 190,) * MOST)])
def test_facts_survive_the_round_trip_in_a_report(facts: Facts) -> None:
    silent = (("checkout", "2", "refused"),)
    told = ProcessReport("id", "host", 7, "asgi", 3, 0.5, silent=silent, facts=facts)
    assert decode_report(encode_report(told)) == told


def test_a_report_without_facts_is_one_of_an_older_version() -> None:
    assert decode_report(encode_report(REPORT)) == REPORT
    assert decode_report(encode_report(REPORT)).facts is None


def test_an_older_version_takes_a_report_with_facts() -> None:
    """It refuses unknown members, and texts that are too long or not printable."""
    facts = Facts(troubles=("x" * 190,) * MOST)
    plain = json.loads(encode_report(ProcessReport("i", "h", 7, "asgi", 3, 0.5, facts=facts)))
    assert plain.keys() == BEFORE
    assert len(plain["silent"]) > 1
    for line in plain["silent"]:
        assert line.keys() == {"rollout", "version", "why"}
        assert line["rollout"] == "*", "no rollout can have this name, so nobody asks for it"
        assert line["why"].isprintable()
        assert 0 < len(line["why"]) <= MAX_TEXT


def test_what_a_newer_version_says_besides_is_left_out() -> None:
    said = {**json.loads(facts_text(FULL)), "weather": {"rain": [1]}, "cookies": {"flavour": 1}}
    found = facts_of(json.dumps(said))
    assert found is not None
    assert (found.library, found.signs, found.cookies) == ("0.1.0", FULL.signs, Cookies())


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("library", 7), ("library", "\x1b[2J"), ("wall", "x"), ("wall", -1), ("wall", True),
        ("wall", float("nan")), ("wall", 1e300), ("signs", "abc"), ("cookies", [1]),
        ("cookies", {"issued": "many"}), ("threads", 1), ("preloaded", 1), ("max_staleness", []),
    ],
)  # fmt: skip
def test_an_odd_fact_is_left_out_alone(name: str, odd: Any) -> None:
    found = facts_of(json.dumps({"python": "3.12.0", name: odd}))
    assert found == Facts(python="3.12.0")


def test_facts_are_bounded() -> None:
    found = facts_of(json.dumps({"server": "s" * 9_999, "signs": ["k" * 9_999] * 99}))
    assert found is not None
    assert (len(found.server), len(found.signs), len(found.signs[0])) == (LONGEST, MOST, LONGEST)
    assert len(facts_text(Facts(server="s" * 9_999, signs=("k" * 9_999,) * 99))) < 5_000


@given(st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_garbage_is_no_facts(text: str) -> None:
    assert facts_of(text) in (None, Facts())


def test_a_fingerprint_tells_keys_apart_and_holds_nothing_of_them() -> None:
    assert fingerprint(b"") == ""
    # Known answer: HMAC-SHA256 of the constant, so that releases agree with each other.
    assert fingerprint(b"k" * 32) == "70cebc67"
    assert fingerprint(b"k" * 32) != fingerprint(b"k" * 31 + b"l")
