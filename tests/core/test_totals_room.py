"""Totals that would take too much room: the newest periods are what is kept."""

from __future__ import annotations

from array import array

from canary_middleware.core.codec_totals import MAX_TOTALS, decode, encode_fitting
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import Arm, Entries, Ledgers, Matured, Slot
from canary_middleware.core.weight import FULL


def _wide() -> Entries:
    return Entries(10**6, 10**5, 10**4, array("q", [10**4] * BUCKETS))


def _ramp(steps: int) -> Ledgers:
    """Everybody has come back at every step, and each bucket of the latency is in use."""
    weights = [1_000 * (number + 1) for number in range(steps)]
    ledgers = Ledgers(1, 2.0)
    for number in range(steps):
        for lo in [0, *weights[:number]]:
            for side in Cohort:
                cell = Cell(number, lo, FULL)
                ledgers.entries[Arm(cell, side)] = _wide()
                ledgers.slots[Slot(cell, side, 0)] = Matured(9, {"revenue": [10**5] * 16})
    return ledgers


def test_a_ramp_of_ten_steps_has_room() -> None:
    ledgers = _ramp(10)
    assert decode(encode_fitting(ledgers)) == ledgers


def test_without_room_the_oldest_periods_go() -> None:
    ledgers = _ramp(30)
    data = encode_fitting(ledgers)
    assert MAX_TOTALS // 2 < len(data) <= MAX_TOTALS
    kept = decode(data)
    periods = sorted({arm.cell.period for arm in kept.entries})
    assert periods == list(range(periods[0], 30))
    assert kept.entries == {
        arm: one for arm, one in ledgers.entries.items() if arm.cell.period >= periods[0]
    }
    assert {slot.cell.period for slot in kept.slots} == set(periods)
    assert len(ledgers.entries) == 30 * 31, "what the process keeps is not touched"
