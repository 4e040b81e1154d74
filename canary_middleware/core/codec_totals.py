"""The totals of one process as text, and from it: lines that add up one by one."""

from __future__ import annotations

import json
import operator
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS, OutcomeClass
from canary_middleware.core.reading import MAX_TEXT, Place
from canary_middleware.core.throw import Cell
from canary_middleware.core.totals import (
    MAX_COUNT,
    Arm,
    Entries,
    Ledgers,
    Matured,
    Pulse,
    Seen,
    Slot,
)
from canary_middleware.core.weight import FULL
from canary_middleware.errors import StoreCorruptError

MAX_TOTALS: Final = 256 * 1024
"""Bytes of one encoded total, at most."""


class Head(NamedTuple):
    """The first line: what does not add up.

    Attributes:
        run: see :class:`Ledgers`.
        upto: see :class:`Ledgers`.
        pulse: see :class:`Ledgers`.
    """

    run: int
    upto: float
    pulse: Pulse


class Row(NamedTuple):
    """Any other line: numbers that add up.

    Attributes:
        key: what they are of; ``None`` for the time before the start.
        counts: as the encoding has them.
        latency: by bucket, the empty ones left out.
        named: hits, or what was observed.
    """

    key: Arm | Slot | Cohort | None
    counts: list[int]
    latency: list[tuple[int, int]]
    named: dict[str, list[int]]


def encode(ledgers: Ledgers) -> bytes:
    """A line of JSON for each part, so that who reads it again looks at those that changed."""
    pulse = ledgers.pulse
    lines: list[list[Any]] = [
        [ledgers.run, round(ledgers.upto, 3), pulse.n, pulse.failures, pulse.slow, pulse.stall],
        [_BEFORE, [], _sparse(ledgers.before), {}],
    ]
    for arm, e in ledgers.entries.items():
        counts = [e.n, e.failures, e.client_errors]
        lines.append(["entry", counts, _sparse(e.latency), {}, arm.cohort.value, *arm.cell])
    for slot, m in ledgers.slots.items():
        lines.append(["slot", [m.n], {}, m.hits, slot.cohort.value, *slot.cell, slot.number])
    for cohort, seen in ledgers.seen.items():
        lines.append(["seen", seen.kinds, _sparse(seen.starts), seen.observed, cohort.value])
    return b"\n".join(_dumps(line).encode() for line in lines)


def encode_fitting(ledgers: Ledgers) -> bytes:
    """As :func:`encode`, without the oldest periods where all of them would take too much."""
    data = encode(ledgers)
    cells = [*(arm.cell for arm in ledgers.entries), *(slot.cell for slot in ledgers.slots)]
    periods = sorted({cell.period for cell in cells})
    while len(data) > MAX_TOTALS and periods:
        gone = periods.pop(0)
        ledgers = replace(
            ledgers,
            entries={arm: e for arm, e in ledgers.entries.items() if arm.cell.period != gone},
            slots={slot: m for slot, m in ledgers.slots.items() if slot.cell.period != gone},
        )
        data = encode(ledgers)
    return data


def decode(data: bytes) -> Ledgers:
    """The inverse of :func:`encode`.

    Raises:
        StoreCorruptError: anything else.
    """
    first, *lines = split(data)
    run, upto, pulse = head(first)
    ledgers = Ledgers(run, upto, pulse=pulse)
    for line in lines:
        add(ledgers, row(line))
    return ledgers


def split(data: bytes) -> list[bytes]:
    """The lines of an encoding; there is one at least.

    Raises:
        StoreCorruptError: it is too long.
    """
    if len(data) > MAX_TOTALS:
        raise StoreCorruptError(f"totals take {len(data)} bytes of at most {MAX_TOTALS}")
    return data.split(b"\n")


def is_before(line: bytes) -> bool:
    """Whether a line is about the time before the start, which is the same for all runs."""
    return line.startswith(_BEFORE_LINE)


def head(line: bytes) -> Head:
    """Read the first line.

    Raises:
        StoreCorruptError: it is something else.
    """
    found = _loads(line)
    if type(found) is not list or len(found) != 6:
        raise _corrupt("do not begin with six numbers")
    run, upto, n, failures, slow, stall = found
    run, n, failures, slow = _counts([run, n, failures, slow])
    seconds = [Place("totals, a time", value).seconds() for value in (upto, stall)]
    return Head(run, seconds[0], Pulse(n, failures, slow, seconds[1]))


def row(line: bytes) -> Row:
    """Read any other line.

    Raises:
        StoreCorruptError: it is something else.
    """
    found = _loads(line)
    if type(found) is not list or len(found) < 4 or type(found[0]) is not str:
        raise _corrupt("have a line that is no row")
    kind, counts, latency, named, *key = found
    if kind not in _SHAPES or type(latency) is not dict or type(named) is not dict:
        raise _corrupt("have a row of no kind")
    few, wide = _SHAPES[kind]
    if len(_counts(counts)) != few or len(key) != wide:
        raise _corrupt(f"have an incomplete {kind}")
    for name, values in named.items():
        if not name or len(name) > MAX_TEXT or not name.isprintable() or not _counts(values):
            raise _corrupt(f"have a name without counts in {kind}")
        if kind == "seen" and len(values) != 2:
            raise _corrupt("have no two counts of what was observed")
    _counts([*latency.values()])
    try:
        buckets = [(_INDEXES[name], count) for name, count in latency.items()]
    except KeyError as error:
        raise _corrupt(f"have no bucket {error}") from error
    return Row(_key(kind, key), counts, buckets, named)


def add(ledgers: Ledgers, one: Row, sign: int = 1) -> None:
    """Add a row to sums, or take it away with ``sign`` -1."""
    key, counts, named = one.key, [sign * count for count in one.counts], one.named
    latency: array[int] | memoryview[int] = ledgers.before
    if isinstance(key, Arm):
        entries = ledgers.entries.get(key) or ledgers.entries.setdefault(key, Entries())
        entries.n += counts[0]
        entries.failures += counts[1]
        entries.client_errors += counts[2]
        latency = entries.latency
    elif isinstance(key, Slot):
        matured = ledgers.slots.get(key) or ledgers.slots.setdefault(key, Matured())
        matured.n += counts[0]
        _add_named(matured.hits, named, sign)
    elif key is not None:
        seen = ledgers.seen.get(key) or ledgers.seen.setdefault(key, Seen())
        seen.kinds = [*map(operator.add, seen.kinds, counts)]
        _add_named(seen.observed, named, sign)
        latency = seen.starts
    for index, count in one.latency:
        latency[index] += sign * count


def _add_named(mine: dict[str, list[int]], others: Mapping[str, list[int]], sign: int) -> None:
    for name, counts in others.items():
        sums = mine.setdefault(name, [0] * len(counts))
        sums += [0] * (len(counts) - len(sums))
        for index, count in enumerate(counts):
            sums[index] += sign * count


def _key(kind: str, found: list[Any]) -> Arm | Slot | Cohort | None:
    if kind == _BEFORE:
        return None
    cohort = _COHORTS.get(found[0]) if type(found[0]) is str else None
    if cohort is None:
        raise _corrupt("have a row of no cohort")
    if kind == "seen":
        return cohort
    period, lo, hi, *number = _counts(found[1:])
    if max(lo, hi) > FULL:
        raise _corrupt("have a bound above 100%")
    cell = Cell(period, lo, hi)
    return Slot(cell, cohort, number[0]) if number else Arm(cell, cohort)


def _counts(found: Any) -> list[int]:
    if type(found) is not list:
        raise _corrupt("have no list where counts belong")
    for count in found:
        if type(count) is not int or not 0 <= count <= MAX_COUNT:
            raise _corrupt(f"have something that is no count, from 0 to {MAX_COUNT}")
    return found


def _sparse(counts: Iterable[int]) -> dict[str, int]:
    return {str(index): count for index, count in enumerate(counts) if count}


def _loads(line: bytes) -> Any:
    try:
        return _DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise _corrupt(f"have a line that is not JSON: {str(error)[:200]}") from error


def _corrupt(why: str) -> StoreCorruptError:
    return StoreCorruptError(f"totals {why}")


_BEFORE: Final = "before"
_BEFORE_LINE: Final = b'["before"'
_SHAPES: Final = {_BEFORE: (0, 0), "entry": (3, 4), "slot": (1, 5), "seen": (len(OutcomeClass), 1)}
"""How many counts, and how many members of the key."""
_COHORTS: Final = {cohort.value: cohort for cohort in Cohort}
_INDEXES: Final = {str(index): index for index in range(BUCKETS)}
_DECODER: Final = json.JSONDecoder()  # NaN is no count, so nothing has to look for it
_dumps: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
