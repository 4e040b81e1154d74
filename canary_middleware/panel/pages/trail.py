"""The audit trail, as rows with the evidence of each line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from canary_middleware.core.records import Audit
from canary_middleware.core.refusals import words
from canary_middleware.core.state import EVERYTHING, Phase, Verb
from canary_middleware.overview.progress import evidence
from canary_middleware.overview.wording import told_of
from canary_middleware.panel.charts.values import Event, Mark

_STEPS = frozenset({Verb.START, Verb.ADVANCE, Verb.APPROVE, Verb.RESUME, Verb.PROMOTE, Verb.FINISH})
_BACK = frozenset({Verb.ROLLBACK, Verb.PRECAUTION})
_HELD = frozenset({Verb.PAUSE, Verb.HOLD, Verb.AWAIT})
EVENTS = {
    **{verb.value: Event.STEP for verb in _STEPS},
    **{verb.value: Event.BACK for verb in _BACK},
    **{verb.value: Event.HELD for verb in _HELD},
    "kill": Event.BACK,
    "kill-file": Event.HELD,
}


class Line(NamedTuple):
    """One change.

    Attributes:
        at: wall-clock seconds.
        scope: a rollout, or ``"everything"``.
        rollout: the same where it has a page of its own.
        action: the verb.
        kind: how its mark looks in charts.
        change: from what to what.
        by: who, by what, from where.
        why: the reason, or what its evidence says.
        revision: of the document that it made.
        evidence: what was known then, a sentence each.
    """

    at: float
    scope: str
    rollout: str
    action: str
    kind: str
    change: str
    by: str
    why: str
    revision: int
    evidence: tuple[str, ...]


def trail(lines: Iterable[Audit]) -> list[Line]:
    """Rows, in the order of the lines."""
    return [_line(line) for line in lines]


def _line(line: Audit) -> Line:
    everything = line.scope == EVERYTHING
    return Line(
        at=line.at,
        scope="everything" if everything else line.scope,
        rollout="" if everything else line.scope,
        action=line.action,
        kind=EVENTS.get(line.action, Event.OTHER).value,
        change=change(line),
        by=line.by,
        why=told_of(line),
        revision=line.revision,
        evidence=tuple(evidence(line)),
    )


def change(line: Audit) -> str:
    """From what to what, with phases as people write them."""
    old, new = (_spelled(text) for text in (line.old, line.new))
    return f"{old} → {new}" if old else new


def _spelled(text: str) -> str:
    for phase in Phase:
        text = text.replace(f" {phase.value} ", f" {words(phase)} ")
    return text


def marks(lines: Iterable[Audit]) -> list[Mark]:
    """What happened, for charts; what the controller only learns is left out."""
    quiet = (Verb.BASELINE.value, Verb.NOTE.value)
    return [
        Mark(line.at, f"{line.action}: {_spelled(line.new)}", EVENTS.get(line.action, Event.OTHER))
        for line in lines
        if line.action not in quiet
    ]


def announced(lines: Iterable[Audit], since: int) -> str:
    """What a screen reader says of what happened after a revision; ``""`` for nothing."""
    new = [line for line in lines if line.revision > since and line.action != Verb.BASELINE.value]
    rows = trail(reversed(new[:3]))
    return ". ".join(f"{row.scope}: {row.action}, {row.change}" for row in rows)
