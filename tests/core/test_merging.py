from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from canary_middleware.core.codec_totals import decode, encode
from canary_middleware.core.guards import Guard
from canary_middleware.core.merging import Shipped, Sums, matured
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import Baseline, Entry, Period, Phase, Plan
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import (
    Arm,
    Entries,
    Ledgers,
    Matured,
    Pulse,
    Seen,
    Slot,
    bucket_of,
)
from canary_middleware.errors import StoreCorruptError

CELL = Cell(3)
BEGUN, HORIZON = 1_000.0, 400
ROLLOUT = Rollout(
    "checkout", "1", "2", owner="me", guards=Guard.defaults(), horizon=f"{HORIZON}s",
    ramp=Ramp("5%", "50%", bake="1h"),
)  # fmt: skip
ENTRY = Entry(
    release="2", stable="1", phase=Phase.RAMPING, weight=5_000, step=0, epoch=3, period=3,
    since=BEGUN, why="", plan=Plan.from_rollout(ROLLOUT), run=3, begun=BEGUN,
    periods=(Period(3, 5_000, BEGUN),),
)  # fmt: skip


def some(seed: int, run: int = 3) -> Ledgers:
    chance = random.Random(seed)
    ledgers = Ledgers(run=run, upto=BEGUN + chance.randrange(100))
    for cohort in Cohort:
        entries = ledgers.entries[Arm(CELL, cohort)] = Entries(n=9, failures=chance.randrange(9))
        entries.latency[bucket_of(chance.random())] += 9
        slot = Slot(CELL, cohort, chance.randrange(1, 4))
        ledgers.slots[slot] = Matured(9, {"errors": [chance.randrange(9)]})
        seen = ledgers.seen[cohort] = Seen(observed={"orders": [chance.randrange(9), 1]})
        seen.kinds[2] = chance.randrange(99)
    ledgers.pulse = Pulse(chance.randrange(9), 1, 0, chance.random())
    ledgers.before[40] = chance.randrange(99)
    return ledgers


def shipped(boot: str, ledgers: Ledgers, *, living: bool = True) -> Shipped:
    return Shipped(boot, encode(ledgers), living)


def summed(*found: Shipped) -> Ledgers:
    sums = Sums(lambda: None)
    sums.update(3, found)
    return sums.total


def counted(ledgers: Ledgers) -> Ledgers:
    """Without what taking away and adding again leaves at zero."""
    return replace(
        ledgers,
        entries={arm: one for arm, one in ledgers.entries.items() if one.n},
        slots={slot: one for slot, one in ledgers.slots.items() if one.n},
    )


def test_what_changed_is_exchanged_exactly() -> None:
    chance = random.Random(1)
    sums = Sums(lambda: None)
    found = {str(number): shipped(str(number), some(number)) for number in range(20)}
    for seed in range(200):
        boot = str(chance.randrange(25))
        if chance.random() < 0.2:
            found.pop(boot, None)
        else:
            run = chance.choice([3, 3, 3, 2])
            found[boot] = shipped(boot, some(seed, run), living=chance.random() < 0.8)
        sums.update(3, list(found.values()))
        assert counted(sums.total) == counted(summed(*found.values()))


def test_another_start_begins_at_zero_but_for_what_was_before_it() -> None:
    total = summed(shipped("a", some(1, run=2)))
    assert [total.entries, total.slots, total.seen] == [{}, {}, {}]
    assert total.before == some(1).before


def test_only_the_living_have_a_pulse_and_hold_visitors_back() -> None:
    total = summed(shipped("a", some(1)), shipped("b", some(2), living=False))
    one = decode(encode(some(1)))
    assert (total.pulse, total.upto) == (one.pulse, one.upto)
    assert total.entries[Arm(CELL, Cohort.CANARY)].n == 18


def test_unchanged_totals_are_not_decoded_again() -> None:
    breaths = 0

    def breathe() -> None:
        nonlocal breaths
        breaths += 1

    sums = Sums(breathe)
    found = [shipped(str(number), some(number)) for number in range(100)]
    sums.update(3, found)
    assert breaths == 103, "one breath for each that is decoded"
    sums.update(3, found)
    assert breaths == 106
    found[7] = shipped("7", some(700))
    sums.update(3, found)
    assert breaths == 110


SPOILS = [
    "",
    "[3,1.0,0,0,0]",
    "[-1,1.0,0,0,0,0.0]",
    "[3,NaN,0,0,0,0.0]",
    '[3,1.0,0,0,0,"0"]',
    *(
        "[3,1.0,0,0,0,0.0]\n" + line
        for line in (
            "",
            "{}",
            "[" * 9_000,
            '["entry",[1,0,0],{}]',
            '["visit",[1,0,0],{},{},"canary",3,0,100]',
            '["entry",[1,0,0],{},{},"canary",3,0,100001]',
            '["entry",[1,0,0],{},{},"canary",3,0]',
            '["entry",[1,0,0],{},{},"both",3,0,100]',
            '["entry",[1,0,0],{},{},["canary"],3,0,100]',
            '["entry",[true,0,0],{},{},"canary",3,0,100]',
            '["entry",[1,0],{},{},"canary",3,0,100]',
            '["entry",[1,0,0],{"128":1},{},"canary",3,0,100]',
            '["entry",[1,0,0],{"01":1},{},"canary",3,0,100]',
            '["entry",[1,0,0],{"1":-1},{},"canary",3,0,100]',
            '["entry",[1,0,0],[],{},"canary",3,0,100]',
            '["slot",[1],{},{"errors":1},"canary",3,0,100,1]',
            '["slot",[1],{},{"":[1]},"canary",3,0,100,1]',
            '["slot",[1],{},{},"canary",3,0,100]',
            '["seen",[0,0],{},{},"canary"]',
            '["seen",[0,0,0,0,0,0,0,0,0,0,0],{},{"orders":[1]},"canary"]',
            '["before",[],{},{},"canary"]',
            '["before",[],{"1":1.5},{}]',
        )
    ),
]


@pytest.mark.parametrize("text", SPOILS)
def test_spoiled_totals_are_refused_as_a_whole_and_named(text: str) -> None:
    with pytest.raises(StoreCorruptError, match="totals"):
        decode(text.encode())
    good = encode(some(1)).decode()
    spoiled = [text, "\n".join([*good.split("\n"), *text.split("\n")[1:]])]
    for data in spoiled[: 1 + text.count("\n")]:
        sums = Sums(lambda: None)
        sums.update(3, [shipped("a", some(2)), Shipped("b", data.encode(), living=True)])
        assert sums.unreadable
        assert list(sums.refused) == ["b"]
        assert "totals" in sums.refused["b"]
        assert counted(sums.total) == replace(counted(summed(shipped("a", some(2)))), upto=0.0)


def test_what_becomes_spoiled_is_taken_out_again() -> None:
    sums = Sums(lambda: None)
    sums.update(3, [shipped("a", some(1)), shipped("b", some(2))])
    sums.update(3, [shipped("a", some(1)), Shipped("b", encode(some(2))[:-1], living=True)])
    assert counted(sums.total).entries == summed(shipped("a", some(1))).entries


def test_what_is_written_is_what_is_read() -> None:
    assert decode(encode(some(1))) == replace(some(1), upto=decode(encode(some(1))).upto)


# --- matured visitors ---------------------------------------------------------------------------

SLOT = HORIZON / 4


def ripe(number: int) -> float:
    return BEGUN + number * SLOT + HORIZON


def complete(number: int, upto: float, entry: Entry = ENTRY, period: int = 3) -> bool:
    slot = Slot(Cell(period), Cohort.CANARY, number)
    return bool(matured(entry, {slot: Matured(1)}, upto))


def test_a_slot_counts_once_everybody_has_booked_its_horizon() -> None:
    assert not complete(2, ripe(2))
    assert complete(2, ripe(2) + 1.0)
    assert complete(2, math.inf), "there is nobody left who could"
    assert complete(0, 0.0), "long ago"


def test_of_a_period_that_ended_only_slots_whose_horizon_did() -> None:
    after = replace(ENTRY, periods=(*ENTRY.periods, Period(5, 50_000, ripe(2))), period=5)
    assert complete(2, math.inf, after)
    assert not complete(3, math.inf, after)
    assert complete(3, math.inf, after, period=5)
    assert not complete(1, math.inf, after, period=4), "nobody knows its weight"
    assert not complete(0, math.inf, after, period=4)


def test_what_began_before_the_baseline_may_be_booked_later() -> None:
    after = replace(
        ENTRY,
        periods=(*ENTRY.periods, Period(5, 5_000, ripe(2))),
        baseline=Baseline((1,) * 128, since=5),
    )
    assert not complete(2, ripe(2) + 4.9, after)
    assert complete(2, ripe(2) + 5.0, after)


# --- folding ------------------------------------------------------------------------------------


def test_a_fold_has_the_sum_of_the_silent_and_of_the_earlier_fold() -> None:
    sums = Sums(lambda: None)
    found = [
        shipped("", some(1), living=False), shipped("a", some(2), living=False),
        shipped("b", some(3)), Shipped("c", b"?", living=False),
        shipped("d", some(4, run=9), living=False),
    ]  # fmt: skip
    sums.update(3, found)
    fold = sums.fold(ENTRY)
    assert fold is not None
    assert fold.old == found[0].data
    assert fold.boots == {"a": found[1].data, "c": b"?"}, "d knows of a start that we do not"
    both = summed(found[0], found[1])
    assert decode(fold.data) == replace(both, upto=0.0, pulse=Pulse())


def test_a_fold_joins_what_is_complete_and_drops_what_never_will_be() -> None:
    after = replace(ENTRY, periods=(*ENTRY.periods, Period(5, 50_000, ripe(2))), period=5)
    gone = Ledgers(run=3)
    for period, number in [(3, 1), (3, 2), (3, 3), (5, 1), (5, 4), (4, 1)]:
        gone.slots[Slot(Cell(period), Cohort.STABLE, number)] = Matured(1)
    sums = Sums(lambda: None)
    living = Ledgers(run=3, upto=ripe(3) + 5)
    sums.update(3, [shipped("a", gone, living=False), shipped("b", living)])
    fold = sums.fold(after)
    assert fold is not None
    left = {(slot.cell.period, slot.number): one.n for slot, one in decode(fold.data).slots.items()}
    assert left == {(3, 0): 2, (5, 0): 1, (5, 4): 1}


def test_without_silent_processes_there_is_nothing_to_fold() -> None:
    sums = Sums(lambda: None)
    sums.update(3, [shipped("", some(1), living=False), shipped("b", some(3))])
    assert sums.fold(ENTRY) is None
