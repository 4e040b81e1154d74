"""A point of a chart as some hundred bytes, and from them: counts as varints.

A varint is seven bits a byte, the lowest first, the eighth says that more follow (LEB128). JSON
takes more than twice the room, and a day has 8,640 points.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.reading import MAX_TEXT
from canary_middleware.core.series import PHASES, SLOT, Counts, Head, Point, Value, Version
from canary_middleware.core.totals import MAX_COUNT, VALUES
from canary_middleware.core.weight import FULL
from canary_middleware.errors import StoreCorruptError

MAX_POINT: Final = 16 * 1024
"""Bytes of an encoded point, at most."""
SCHEMA: Final = 1
_COHORTS: Final = (Cohort.CANARY, Cohort.STABLE)
_GUARDS: Final = 1_000
"""More than any plan has."""
_CAP: Final = struct.Struct(">d")

_Name = TypeVar("_Name")


def encode(point: Point) -> bytes:
    """As bytes, without its slot; without metrics where these would make it too long."""
    data = _encoded(point, metrics=True)
    return data if len(data) <= MAX_POINT else _encoded(point, metrics=False)


def decode(slot: int, data: bytes) -> Point:
    """The inverse of :func:`encode`.

    Args:
        slot: that it was written for.
        data: encoded.

    Raises:
        StoreCorruptError: anything else.
    """
    source = _Source(data)
    head = source.head(slot)
    versions = tuple(source.version() for _ in range(source.number(len(_COHORTS))))
    if len({one.cohort for one in versions}) < len(versions):
        raise _corrupt("has a cohort twice")
    if len({one.label for one in versions}) < len(versions):
        raise _corrupt("has a label twice")
    source.end()
    return Point(head, versions)


def head(slot: int, data: bytes) -> Head:
    """The beginning of a point alone, at a tenth of the cost.

    Raises:
        StoreCorruptError: it is something else.
    """
    return _Source(data).head(slot)


def _encoded(point: Point, *, metrics: bool) -> bytes:
    out = bytearray([SCHEMA])
    begin = point.head
    _write(out, round((begin.at - begin.slot * SLOT) * 100), begin.run, begin.weight)
    _write(out, PHASES.index(begin.phase), len(point.versions))
    for version in point.versions:
        _write(out, _COHORTS.index(version.cohort))
        _write_text(out, version.label)
        counts = version.counts
        _write(out, counts.requests, counts.failures, counts.client_errors)
        _write_sparse(out, counts.latency)
        observed = counts.observed if metrics else {}
        _write(out, len(observed))
        for name, both in observed.items():
            _write_text(out, name)
            _write(out, *both)
        values = counts.values if metrics else {}
        _write(out, len(values))
        for value, buckets in values.items():
            _write_text(out, value.guard)
            out += _CAP.pack(value.cap)
            _write_sparse(out, buckets)
    return bytes(out)


def _write(out: bytearray, *numbers: int) -> None:
    for number in numbers:
        rest = number
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)


def _write_text(out: bytearray, text: str) -> None:
    data = text.encode()
    _write(out, len(data))
    out += data


def _write_sparse(out: bytearray, counts: Mapping[int, int]) -> None:
    """Stretches of buckets without empty ones: how many are skipped, how many come, counts."""
    stretches: list[list[int]] = []
    for bucket in sorted(counts):
        if stretches and stretches[-1][-1] == bucket - 1:
            stretches[-1].append(bucket)
        else:
            stretches.append([bucket])
    _write(out, len(stretches))
    done = 0
    for stretch in stretches:
        _write(out, stretch[0] - done, len(stretch), *(counts[bucket] for bucket in stretch))
        done = stretch[-1] + 1


class _Source:
    """Bytes that are read from the front; whatever is not as written is refused."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        if len(data) > MAX_POINT:
            raise _corrupt(f"takes {len(data)} bytes of at most {MAX_POINT}")
        if not data or data[0] != SCHEMA:
            raise _corrupt(f"has schema {data[:1].hex() or 'none'}, not {SCHEMA}")
        self._data = data
        self._at = 1

    def head(self, slot: int) -> Head:
        hundredths = self.number(SLOT * 100 - 1)
        run, weight, phase = self.number(), self.number(FULL), self.number(len(PHASES) - 1)
        return Head(slot, slot * SLOT + hundredths / 100, run, weight, PHASES[phase])

    def version(self) -> Version:
        cohort, label = _COHORTS[self.number(len(_COHORTS) - 1)], self._text()
        requests, failures, client_errors = self.number(), self.number(), self.number()
        latency = self._sparse(BUCKETS)
        observed: dict[str, tuple[int, int]] = {}
        for _ in range(self.number(_GUARDS)):
            name = self._fresh(self._text(), observed)
            observed[name] = self.number(), self.number()
        values: dict[Value, Mapping[int, int]] = {}
        for _ in range(self.number(_GUARDS)):
            value = self._fresh(Value(self._text(), self._cap()), values)
            values[value] = self._sparse(VALUES)
        counts = Counts(requests, failures, client_errors, latency, observed, values)
        return Version(cohort, label, counts)

    def end(self) -> None:
        if self._at != len(self._data):
            raise _corrupt("goes on behind its end")

    def number(self, most: int = MAX_COUNT) -> int:
        data, at = self._data, self._at
        try:
            byte = data[at]
            number, shift = byte & 0x7F, 7
            while byte > 0x7F:
                at += 1
                byte = data[at]
                number |= (byte & 0x7F) << shift
                shift += 7
                if shift > 63:
                    break
        except IndexError:
            raise _corrupt("ends too early") from None
        if number > most or byte > 0x7F or (byte == 0 and shift > 7):
            raise _corrupt(f"has something that is no number up to {most}")
        self._at = at + 1
        return number

    def _sparse(self, buckets: int) -> dict[int, int]:
        found: dict[int, int] = {}
        done = 0
        for _ in range(self.number(buckets)):
            skipped, size = self.number(buckets), self.number(buckets)
            begin, done = done + skipped, done + skipped + size
            if not size or done > buckets or (found and not skipped):
                raise _corrupt("has buckets that are none, or out of order")
            for bucket in range(begin, done):
                found[bucket] = self.number()
        if 0 in found.values():
            raise _corrupt("has an empty bucket")
        return found

    def _text(self) -> str:
        size = self.number(4 * MAX_TEXT)
        try:
            text = self._bytes(size).decode()
        except UnicodeDecodeError as error:
            raise _corrupt("has a name that is no UTF-8") from error
        if not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
            raise _corrupt(f"has a name that is not 1 to {MAX_TEXT} printable characters")
        return text

    def _cap(self) -> float:
        (cap,) = _CAP.unpack(self._bytes(_CAP.size))
        if not math.isfinite(cap) or cap < 0 or math.copysign(1.0, cap) < 0:
            raise _corrupt("has a cap that is none")
        return float(cap)

    def _bytes(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) != size:
            raise _corrupt("ends too early")
        self._at += size
        return data

    @staticmethod
    def _fresh(name: _Name, known: Iterable[_Name]) -> _Name:
        if name in known:
            raise _corrupt("has a name twice")
        return name


def _corrupt(why: str) -> StoreCorruptError:
    return StoreCorruptError(f"a point of a chart {why}")
