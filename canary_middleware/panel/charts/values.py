"""What a chart shows, before anything is drawn: lines, marks and levels over time."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

Reading = tuple[float, float | None]
"""Wall-clock seconds, and what was measured then; ``None`` for nothing: a gap stays a gap."""


class Kind(enum.Enum):
    """Whose line it is; told by colour, by dashes and in words."""

    CANARY = "canary"
    STABLE = "stable"
    EARLIER = "earlier"


class Event(enum.Enum):
    """What a mark stands for; told by shape and in words."""

    STEP = "step"
    BACK = "back"
    HELD = "held"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Line:
    """One version over time.

    Attributes:
        label: its name.
        kind: see :class:`Kind`.
        readings: by rising time. A value may be infinite: it is drawn at the upper edge.
        stepped: it stays what it was until it changes, as a weight does.
    """

    label: str
    kind: Kind
    readings: Sequence[Reading]
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened.

    Attributes:
        at: wall-clock seconds.
        label: in a few words.
        event: see :class:`Event`.
    """

    at: float
    label: str
    event: Event = Event.STEP


@dataclass(frozen=True, slots=True)
class Level:
    """A value that matters, such as a weight that a ramp will reach."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Unit:
    """How values are told.

    Attributes:
        told: a value in words.
        least: the upper edge of the axis is at least this, so that noise does not look like news.
        most: the upper edge is at most this, ``None`` for any.
    """

    told: Callable[[float], str]
    least: float
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """One chart.

    Attributes:
        ident: unique in a page; letters, digits and ``-``.
        title: what is shown.
        unit: of all values.
        lines: at most a handful.
        since: wall-clock seconds of the left edge.
        until: of the right edge.
        marks: what happened meanwhile.
        levels: values that matter.
        width: of the drawing, in units of its own.
        height: likewise.
    """

    ident: str
    title: str
    unit: Unit
    lines: Sequence[Line]
    since: float
    until: float
    marks: Sequence[Mark] = ()
    levels: Sequence[Level] = ()
    width: int = 400
    height: int = 170


LARGEST: Final = 1e15
"""Values above are drawn as this."""
