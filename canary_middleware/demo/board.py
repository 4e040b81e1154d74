"""The live board: of every rollout both versions, and what the evidence says; lines, not print."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from canary_middleware.cli.drawing import Line, Paper
from canary_middleware.cli.show import cut
from canary_middleware.core.guards import Action
from canary_middleware.core.state import Phase
from canary_middleware.core.telling import lasting, latency
from canary_middleware.core.verdict import Finding
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.scene import Scene, Side, View, bake

_COLOURS: Final = {Phase.PROMOTED: "green", Phase.ROLLED_BACK: "red"}
_BAR: Final = 12
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Towards(NamedTuple):
    """How much of the evidence for something there is.

    Attributes:
        share: 1 is enough.
        guard: whose.
    """

    share: float
    guard: str


def board(scene: Scene, paper: Paper, notes: Mapping[str, str] = NOTHING) -> list[Line]:
    """Everything that was started, one rollout below the other.

    Args:
        scene: what there is to show.
        paper: where.
        notes: a further line, by name of the rollout.
    """
    lines = (
        line
        for view in scene.views
        for line in _view(view, scene.at, paper, notes.get(view.name, ""))
    )
    return [Line(cut(text, paper.width).rstrip(), color) for text, color in lines]


def _view(view: View, now: float, paper: Paper, note: str) -> Iterator[Line]:
    entry = view.entry
    if entry is None:
        return
    yield Line("")
    yield Line(f"  {view.name:<9} {_where(view, now)}", _COLOURS.get(entry.phase, ""))
    if note:
        yield Line(f"    {note}")
    if view.trouble:
        yield Line(f"    its totals cannot be read: {view.trouble}", "red")
    for side in view.sides():
        yield Line(f"    {_side(side)}")
    found = view.numbers.verdict.findings if view.numbers else ()
    if found:
        yield Line(f"    {_evidence(found, paper, open_=not view.ended)}")


def _where(view: View, now: float) -> str:
    entry = view.entry
    if entry is None:
        return "idle"
    words = f"{entry.phase.value.replace('_', ' ')} at {format_weight(entry.weight)}"
    if view.ended:
        return f"{words}, {entry.since - entry.begun:.1f} s after its start"
    at = bake(entry, now)
    if at is None:
        return words
    return f"{words}, step {at.step} of {at.steps}, {lasting(at.passed)} of {lasting(at.needed)}"


def _side(side: Side) -> str:
    p50, p95 = (_time(side.quantiles[at]) for at in (0, 1))
    return (
        f"{side.version:<7}{format_weight(side.share):>5}{side.requests:>9,} requests"
        f"{side.errors:>5,} errors   p50 {p50:>7}   p95 {p95:>7}"
    )


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else latency(seconds)


def _evidence(findings: tuple[Finding, ...], paper: Paper, *, open_: bool) -> str:
    """What a rollback and a promotion have of what they need, by the guards that decide."""
    worst = max(_each(findings, _back), default=Towards(0.0, ""))
    words = f"rollback {_drawn(worst.share, paper)}"
    onward = min(_each(findings, _on), default=None)
    if open_ and onward is not None:
        return f"{words}   promotion {_drawn(onward.share, paper)}   {onward.guard}"
    return f"{words}   {worst.guard if worst.share > 0 else ''}"


def _each(
    findings: tuple[Finding, ...], towards: Callable[[Finding], float | None]
) -> Iterator[Towards]:
    for found in findings:
        share = towards(found) if found.action is Action.BREACH else None
        if share is not None:
            yield Towards(min(max(share, 0.0), 1.0), found.guard)


def _back(found: Finding) -> float:
    return 1.0 if found.breach else min(0.99, found.log_e / found.threshold)


def _on(found: Finding) -> float | None:
    if found.proven:
        return 1.0
    return None if found.proof is None else min(0.99, found.proof / found.needed)


def _drawn(share: float, paper: Paper) -> str:
    return f"{paper.bar(share, _BAR)} {share:>4.0%}"
