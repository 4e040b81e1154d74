"""Who wins a race, what a claim looks like in a store, and under what key it stands there."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE
from canary_middleware.core.claims import (
    MAX_NUMBER,
    Ask,
    Claim,
    claim_key,
    contend,
    decode_claim,
    encode_claim,
)
from canary_middleware.core.model import Cohort

LINEAGES = ("ab12", "cd34")
BUCKETS = st.integers(0, SPACE - 1)
LIMITS = st.just(0) | st.just(SPACE) | st.integers(0, SPACE)
FEW = st.integers(1, 4)
CLAIMS = st.builds(Claim, st.sampled_from(LINEAGES), FEW, FEW, st.sampled_from(Cohort), BUCKETS)
ASKS = st.builds(
    Ask,
    rollout=st.just("checkout"),
    key=st.just("user"),
    origin=st.none() | st.just("browser"),
    lineage=st.sampled_from(LINEAGES),
    epoch=FEW,
    period=FEW,
    limit=LIMITS,
    bucket=BUCKETS,
    raises=st.booleans(),
    life=st.just(1_000),
    remembered=st.none() | CLAIMS,
)


# --- the rule -------------------------------------------------------------------------------------


@given(st.none() | CLAIMS, st.none() | CLAIMS, ASKS)
def test_asking_twice_changes_nothing(held: Claim | None, origin: Claim | None, ask: Ask) -> None:
    winner = contend(held, origin, ask)
    assert contend(winner, origin, ask) == winner
    assert contend(None, origin, replace(ask, remembered=winner)) == winner


@given(CLAIMS, st.none() | CLAIMS, ASKS)
def test_epochs_of_a_lineage_never_go_back(held: Claim, origin: Claim | None, ask: Ask) -> None:
    winner = contend(held, origin, ask)
    if held.lineage == ask.lineage:
        assert winner.epoch == max(held.epoch, ask.epoch)
        if held.epoch > ask.epoch:
            assert winner is held
    else:
        assert (winner.lineage, winner.epoch) == (ask.lineage, ask.epoch)


@given(CLAIMS, st.none() | CLAIMS, ASKS)
def test_the_first_draw_outlives_everything(held: Claim, origin: Claim | None, ask: Ask) -> None:
    assert contend(held, origin, ask).bucket == held.bucket


@given(CLAIMS, ASKS)
def test_within_an_epoch_a_cohort_only_rises_and_only_where_it_may(held: Claim, ask: Ask) -> None:
    ask = replace(ask, lineage=held.lineage, epoch=held.epoch)
    winner = contend(held, None, ask)
    rises = ask.raises and held.cohort is Cohort.STABLE and held.bucket < ask.limit
    if rises:
        assert winner == held._replace(cohort=Cohort.CANARY, period=ask.period)
    else:
        assert winner is held


@given(CLAIMS, ASKS)
def test_who_signs_in_takes_the_browsers_claim_along(origin: Claim, ask: Ask) -> None:
    ask = replace(ask, remembered=None)
    winner = contend(None, origin, ask)
    assert winner == contend(origin, None, ask)
    if (origin.lineage, origin.epoch) == (ask.lineage, ask.epoch) and not ask.raises:
        assert winner is origin


@given(CLAIMS, st.none() | CLAIMS, ASKS)
def test_an_older_claim_of_the_user_wins(held: Claim, origin: Claim | None, ask: Ask) -> None:
    assert contend(held, origin, ask) == contend(held, None, ask)


@given(st.none() | CLAIMS, CLAIMS, ASKS)
def test_what_the_store_holds_comes_before_what_a_process_remembers(
    held: Claim | None, remembered: Claim, ask: Ask
) -> None:
    ask = replace(ask, remembered=remembered)
    if held is not None:
        assert contend(held, None, ask) == contend(held, None, replace(ask, remembered=None))
    else:
        assert contend(None, None, ask) == contend(remembered, None, ask)


@given(ASKS)
def test_who_is_new_is_drawn_by_bucket_and_limit(ask: Ask) -> None:
    ask = replace(ask, remembered=None)
    cohort = Cohort.CANARY if ask.bucket < ask.limit else Cohort.STABLE
    assert contend(None, None, ask) == Claim(ask.lineage, ask.epoch, ask.period, cohort, ask.bucket)


class Race(RuleBasedStateMachine):
    """Processes that hear of events at different times ask about one subject."""

    def __init__(self) -> None:
        super().__init__()
        self.present = 1
        self.heard = [1, 1, 1]
        self.held: Claim | None = None
        self.first: int | None = None

    @rule()
    def something_voids_all_pins(self) -> None:
        self.present += 1

    @rule(process=st.integers(0, 2))
    def a_process_hears_of_it(self, process: int) -> None:
        self.heard[process] = self.present

    @rule(process=st.integers(0, 2), limit=LIMITS, bucket=BUCKETS, raises=st.booleans())
    def a_process_asks(self, process: int, limit: int, bucket: int, raises: bool) -> None:
        epoch = self.heard[process]
        ask = Ask("checkout", "k", None, "ab", epoch, epoch, limit, bucket, raises, 1_000)
        before = self.held
        self.held = contend(before, None, ask)
        if self.first is None:
            self.first = bucket
        if before is not None and before.epoch > epoch:
            assert self.held is before, "who is behind writes nothing"

    @rule()
    def the_store_loses_it(self) -> None:
        self.held, self.first = None, None

    @invariant()
    def the_first_bucket_stays(self) -> None:
        assert self.held is None or self.held.bucket == self.first

    @invariant()
    def no_claim_is_of_an_epoch_to_come(self) -> None:
        assert self.held is None or self.held.epoch <= self.present


TestRace = Race.TestCase


# --- in a store -----------------------------------------------------------------------------------

NUMBERS = st.integers(0, MAX_NUMBER)
ANY = st.builds(
    Claim,
    st.text("0123456789abcdef", min_size=1, max_size=64),
    NUMBERS,
    NUMBERS,
    st.sampled_from(Cohort),
    BUCKETS,
)
TEXT = b"1:ab12:3:4:c:5"


@given(ANY)
def test_a_claim_comes_back_from_the_store(claim: Claim) -> None:
    text = encode_claim(claim)
    assert decode_claim(text) == claim
    assert len(text) <= 128


def test_what_is_written_stays_readable() -> None:
    assert decode_claim(TEXT) == Claim("ab12", 3, 4, Cohort.CANARY, 5)
    assert encode_claim(Claim("ab12", 3, 4, Cohort.STABLE, SPACE - 1)) == (
        b"1:ab12:3:4:s:9007199254740991"
    )


@pytest.mark.parametrize(
    "text",
    [
        b"", b"1", b"2:ab12:3:4:c:5", b"1:AB12:3:4:c:5", b"1::3:4:c:5", b"1:ab12:-3:4:c:5",
        b"1:ab12:3:4:x:5", b"1:ab12:3:4:c:", b"1:ab12:3:4:c:5:6", b"1:ab12:3:4:c:5\n",
        b" 1:ab12:3:4:c:5", b"1:ab12:3.0:4:c:5", b"1:ab12:1e3:4:c:5",
        b"1:ab12:3:4:c:9007199254740992", b"1:ab12:9007199254740992:4:c:5",
        b"1:ab12:3:9007199254740992:c:5", b"1:" + b"a" * 65 + b":3:4:c:5",
        b"1:ab12:" + b"0" * 17 + b":4:c:5", "1:ab12:٣:4:c:5".encode(),
    ],
)  # fmt: skip
def test_what_is_none_counts_as_absent(text: bytes) -> None:
    assert decode_claim(text) is None


@given(st.binary(max_size=200))
def test_garbage_is_no_claim_or_one_that_could_be(data: bytes) -> None:
    claim = decode_claim(data)
    if claim is not None:
        assert decode_claim(encode_claim(claim)) == claim


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 255))
def test_one_wrong_byte_is_no_claim_or_another_one(place: int, byte: int) -> None:
    broken = TEXT[:place] + bytes([byte]) + TEXT[place + 1 :]
    claim = decode_claim(broken)
    if claim is not None:
        assert encode_claim(claim) == broken


# --- under what key -------------------------------------------------------------------------------

KEY = bytes(range(32))


def test_known_answers() -> None:
    # If one of these fails, every claim in every store is lost on the day of the upgrade.
    assert claim_key(KEY, ANONYMOUS, "visitor-00000001") == "FubE8fqIXQX7mDYBrxlgLw"
    assert claim_key(KEY, IDENTIFIED, "alice@example.com") == "x1s9DEIf1Uf89eUE7I4nQg"
    assert claim_key(KEY, IDENTIFIED, "é\ud800") == "zT7kEJiHcvKL8DyFkFpVGA"


def test_a_key_tells_apart_what_is_not_the_same() -> None:
    keys = {
        claim_key(KEY, ANONYMOUS, "a"),
        claim_key(KEY, IDENTIFIED, "a"),
        claim_key(KEY, IDENTIFIED, "b"),
        claim_key(bytes(32), IDENTIFIED, "a"),
    }
    assert len(keys) == 4
    assert {len(key) for key in keys} == {22}


@given(st.text(max_size=300))
def test_a_key_is_short_whatever_the_subject_is(subject: str) -> None:
    key = claim_key(KEY, IDENTIFIED, subject)
    assert len(key) == 22
    assert key.replace("-", "").replace("_", "").isalnum()


def test_nobody_without_the_key_can_test_a_guess() -> None:
    subject = "alice@example.com"
    found = claim_key(KEY, IDENTIFIED, subject)
    for name in sorted(hashlib.algorithms_guaranteed):
        for data in (subject, "s:" + subject):
            digest = hashlib.new(name)
            digest.update(data.encode())
            size = {"length": 32} if name.startswith("shake") else {}
            plain = digest.digest(*size.values())
            assert found[:12] not in urlsafe_b64encode(plain).decode()
            assert found != urlsafe_b64encode(plain[:16]).decode().rstrip("=")
    person = hashlib.blake2b(f"s:{subject}".encode(), digest_size=16, person=b"canary-claim")
    assert found != urlsafe_b64encode(person.digest()).decode().rstrip("=")
