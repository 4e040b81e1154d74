"""The words of every surface: escaped, rounded, in whole sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from canary_middleware.core.evidence import Told, read
from canary_middleware.core.gauge import gate_of
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import StoreCorruptError

LONGEST: Final = 600
"""Characters of any one text from the store; a reason has 500 at most."""
_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))


def shown(text: str) -> str:
    """Text from elsewhere: what could move a cursor or start a line is escaped."""
    clipped = text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clipped)


def clean(value: Any) -> Any:
    """What JSON can say, and nobody can be hurt by: texts escaped, no infinity."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {shown(name): clean(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(member) for member in value]
    # JSON has no infinity.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def ago(seconds: float) -> str:
    """A duration in its largest unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def weighed(entry: Entry, *, killed: bool) -> str:
    """The weight that was set, and that nobody has it while a kill is in force."""
    weight = format_weight(entry.weight)
    return f"{weight} (0% now)" if killed and entry.weight else weight


def instant(at: float) -> str:
    """A wall-clock time as people write it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def percent(share: float) -> str:
    """Two digits: ``"0.81%"``, ``"12%"``."""
    points = 100 * share
    return f"{points:.0f}%" if points >= 9.95 else f"{points:.2g}%"


def number(count: int, one: str, many: str) -> str:
    """``"1 process"``, ``"2 processes"``."""
    return f"{count:,} {one if count == 1 else many}"


def standing(told: Told, entry: Entry) -> str:
    """How many were measured, and what that says."""
    canary, stable = told.verdict.visitors
    measured = f"{canary:,} canary and {stable:,} stable {told.unit} measured"
    if not canary + stable and any(told.requests or ()):
        measured += f" (an answer counts {gate_of(entry):.0f} s after its request came)"
    return f"{measured}; {told.standing()}"


def totals(processes: int, age: float | None) -> str:
    """Whose numbers these are, and how old."""
    if age is None:
        return "no process ships totals now"
    whose = number(processes, "process", "processes")
    return f"totals of {whose}, {'' if processes == 1 else 'the oldest '}{ago(age)} old"


def told_of(line: Audit) -> str:
    """Why something was done: the reason given, else what its evidence says."""
    if line.why or not line.evidence:
        return line.why
    try:
        return read(line.evidence).sentence()
    except StoreCorruptError:
        return "its evidence cannot be read"
