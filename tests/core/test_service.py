"""The header between services: what it says, what is refused, and who is believed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.core.model import Cohort
from canary_middleware.core.service import (
    KIND,
    LIFE,
    SKEW,
    Callers,
    Carried,
    Named,
    Peers,
    caller_problems,
    member,
    merged,
    named,
    read,
    upstream,
    write,
)
from canary_middleware.core.state import Phase
from canary_middleware.core.token import TokenCodec
from canary_middleware.errors import TokenError
from tests.core.control import document, entry, lane

KEY, OTHER = b"k" * 32, b"o" * 32
CODEC = TokenCodec([KEY], "shop", KIND)
NOW = 1_800_000_000.0
ONE = Carried("checkout", "1.5.0", Cohort.CANARY, 7)
LABELS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)


def refused(token: str | bytes, now: float = NOW, codec: TokenCodec = CODEC) -> str:
    with pytest.raises(TokenError) as error:
        read(codec, token.encode() if isinstance(token, str) else token, now)
    return error.value.why


@given(st.lists(LABELS, min_size=1, max_size=2), st.sampled_from(Cohort), st.integers(0, 2**53))
@example(["1.5.0:.~%2E,;= "], Cohort.STABLE, 0)
def test_labels_travel_whatever_they_hold(labels: list[str], cohort: Cohort, epoch: int) -> None:
    carried = [Carried(f"r-{n}_X", label, cohort, epoch) for n, label in enumerate(labels)]
    token = write(CODEC, carried, NOW)
    assert re.fullmatch(r"[\x21-\x7e]+", token)
    found = list(read(CODEC, token.encode(), NOW).values())
    assert found == carried[: len(found)]
    assert len(found) == len(carried) or len(token) > 300


def test_it_is_legible_and_says_nothing_else() -> None:
    token = write(CODEC, [ONE], NOW)
    assert re.fullmatch(r"1\.1800000000\.checkout:1%2E5%2E0:c:7\.[A-Za-z0-9_-]{43}", token)
    assert read(CODEC, token.encode(), NOW) == {"checkout": ONE}
    assert read(CODEC, write(CODEC, [], NOW).encode(), NOW) == {}


def test_rollouts_that_do_not_fit_are_left_out_the_later_ones_first() -> None:
    many = [Carried(f"rollout-{n}", "2026.11.21", Cohort.CANARY, n) for n in range(40)]
    token = write(CODEC, many, NOW)
    assert 480 < len(token) <= 512
    found = list(read(CODEC, token.encode(), NOW).values())
    assert found == many[: len(found)]
    assert len(found) >= 10


@pytest.mark.parametrize(
    ("age", "why"),
    [
        (0, None), (LIFE + SKEW, None), (LIFE + SKEW + 1, "expired"),
        (-SKEW, None), (-SKEW - 1, "future"),
    ],
)  # fmt: skip
def test_it_is_valid_for_a_minute_and_a_minute_of_skew(age: int, why: str | None) -> None:
    token = write(CODEC, [ONE], NOW)
    if why is None:
        assert read(CODEC, token.encode(), NOW + age) == {"checkout": ONE}
    else:
        assert refused(token, NOW + age) == why


def test_what_others_sign_is_forged() -> None:
    token = write(CODEC, [ONE], NOW)
    strangers = [
        TokenCodec([OTHER], "shop", KIND),
        TokenCodec([KEY], "blog", KIND),
        TokenCodec([KEY], "shop", "visitor"),
    ]
    assert {refused(token, codec=codec) for codec in strangers} == {"forged"}
    assert {refused(write(codec, [ONE], NOW)) for codec in strangers} == {"forged"}
    assert refused(token.replace(":c:", ":s:")) == "forged"
    assert refused(token + "A" * 512) == "oversized"
    assert refused("") == "malformed"
    newest = TokenCodec([KEY, OTHER], "shop", KIND)
    assert read(newest, token.encode(), NOW) == {"checkout": ONE}


@pytest.mark.parametrize(
    "fields",
    [
        ["1"], ["2", "1800000000"], ["1", ""], ["1", "x"], ["1", "1800000000", ""],
        ["1", "1800000000", "checkout:2:c"], ["1", "1800000000", "checkout:2:x:1"],
        ["1", "1800000000", "checkout::c:1"], ["1", "1800000000", "*:2:c:1"],
    ],
)  # fmt: skip
def test_what_we_signed_but_do_not_understand_is_malformed(fields: Sequence[str]) -> None:
    assert refused(CODEC.sign(fields)) == "malformed"


# --- what it decides ----------------------------------------------------------------------------


def told(**changes: Any) -> Carried:
    return Carried("checkout", "2", Cohort.CANARY, 3)._replace(**changes)


@pytest.mark.parametrize("cohort", Cohort)
@pytest.mark.parametrize("weight", [0, 50_000, 100_000])
def test_it_decides_at_any_weight(cohort: Cohort, weight: int) -> None:
    assert upstream(lane(document(entry(weight=weight))), told(cohort=cohort)) is cohort


@pytest.mark.parametrize("changes", [{"release": "3"}, {"epoch": 2}, {"epoch": 4}])
def test_another_release_or_epoch_decides_nothing(changes: dict[str, object]) -> None:
    assert upstream(lane(document(entry())), told(**changes)) is None
    assert upstream(lane(None), told(**changes)) is None


def test_what_is_finished_has_no_stable_side() -> None:
    promoted, finished = (
        lane(document(entry(phase, 100_000))) for phase in (Phase.PROMOTED, Phase.FINISHED)
    )
    assert upstream(promoted, told(cohort=Cohort.STABLE)) is Cohort.STABLE
    assert upstream(finished, told(cohort=Cohort.STABLE)) is None
    assert upstream(finished, told()) is Cohort.CANARY


@pytest.mark.parametrize(
    ("version", "cohort"), [("2", Cohort.CANARY), ("1", Cohort.STABLE), ("3", None), ("", None)]
)
def test_baggage_names_a_label_of_this_lane_or_nothing(version: str, cohort: Cohort | None) -> None:
    assert upstream(lane(document(entry())), Named("checkout", version)) is cohort


# --- baggage ------------------------------------------------------------------------------------


@given(LABELS)
def test_a_label_survives_the_baggage(label: str) -> None:
    line = merged("user=1;secret", ["a=b", member("checkout", label)])
    assert named(line) == {"checkout": Named("checkout", label)}


def test_baggage_is_merged_and_nobody_else_names_versions() -> None:
    foreign = "tenant=7;meta=x, canary.checkout=9 ,%63anary.search=9,Canary.Blog = 9,x=canary.y,,"
    assert merged(foreign, [member("checkout", "1,5")]) == (
        "tenant=7;meta=x,x=canary.y,canary.checkout=1%2C5"
    )
    assert merged(foreign, ()) == "tenant=7;meta=x,x=canary.y"
    assert merged("", ()) == ""


def test_ours_are_left_out_where_the_header_would_be_too_long() -> None:
    full = "x=" + "a" * 8_180
    assert merged(full, [member("checkout", "1.5.0")]) == full


def test_named_reads_members_of_ours_only() -> None:
    line = "x=1, canary.checkout = 1%2E5;p=1 ,canary.b=2,notcanary.c=3"
    assert named(line) == {"checkout": Named("checkout", "1.5"), "b": Named("b", "2")}


# --- whom to believe ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("10.1.2.3", True), ("11.0.0.1", False), ("::ffff:10.1.2.3", True), ("fd00::1", True),
        ("fe80::1%eth0", False), ("", False), (None, False), ("10.1.2.3:80", False),
        ("shop", False),
    ],
)  # fmt: skip
def test_peers_are_known_by_their_address(address: str | None, inside: bool) -> None:
    assert Peers(["10.0.0.0/8", "fd00::/8"]).include(address) is inside
    assert not Peers([]).include(address)


@pytest.mark.parametrize(
    ("callers", "said"),
    [
        (Callers(networks=["0.0.0.0/0"]), "is everybody"),
        (Callers(networks=["::/0"]), "is everybody"),
        (Callers(networks=["10.0.0.1/8"]), "is not a network"),
        (Callers(networks="10.0.0.0/8"), "is str, not a list"),
        (Callers(networks=[10]), "is not a network"),  # type: ignore[list-item]  # what people do
        (Callers(signed="yes"), "neither true nor false"),  # type: ignore[arg-type]  # likewise
        (True, "is bool, not Callers"),
    ],
)
def test_what_would_trust_everybody_is_refused(callers: object, said: str) -> None:
    (problem,) = caller_problems(callers)
    assert said in str(problem)


def test_nobody_is_believed_unless_somebody_says_so() -> None:
    assert not Callers()
    good = Callers(signed=True, networks=("10.0.0.0/8", "192.168.1.4", "fd00::/8"))
    assert good
    assert list(caller_problems(good)) == []
