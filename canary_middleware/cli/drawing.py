"""A scene as lines of text that are never wider than they may be. Pure: nothing is printed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from canary_middleware.cli.show import aligned, cut, width_of
from canary_middleware.core.evidence import Told
from canary_middleware.core.guards import QUANTILES, Action, Guard, Metric
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Phase
from canary_middleware.core.telling import lasting, latency
from canary_middleware.core.verdict import Finding, Share
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.progress import by_hand
from canary_middleware.overview.scene import Bake, Scene, Side, View, bake, drilling
from canary_middleware.overview.wording import (
    ago,
    instant,
    number,
    percent,
    shown,
    standing,
    told_of,
    totals,
)

_PHASES: Final[Mapping[Phase, str]] = {
    Phase.PROMOTED: "green", Phase.FINISHED: "green", Phase.ROLLED_BACK: "red",
    Phase.PAUSED: "yellow", Phase.HOLDING: "yellow", Phase.AWAITING_APPROVAL: "yellow",
}  # fmt: skip
_STILL: Final = frozenset({Phase.HOLDING, Phase.PAUSED})
_LEAST, _MOST = 6, 24
"""Columns of a bar."""


class Line(NamedTuple):
    """One line and its colour, which never says what the words do not say."""

    text: str
    color: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """What is drawn on.

    Attributes:
        width: columns.
        full: the character of a bar where it is filled.
        empty: where it is not.
    """

    width: int
    full: str = "█"
    empty: str = "░"

    def bar(self, share: float, width: int) -> str:
        """A share from 0 to 1; what is more than nothing can be seen, and only 1 is full."""
        share = min(max(share, 0.0), 1.0)
        least = 1 if share > 0.005 else 0
        filled = width if share >= 1 else min(width - 1, max(round(share * width), least))
        return self.full * filled + self.empty * (width - filled)

    def wrapped(self, text: str, color: str = "", indent: str = "") -> Iterator[Line]:
        """A sentence over as many lines as it needs."""
        room = max(8, self.width)
        for line in textwrap.wrap(shown(text), room, subsequent_indent=indent):
            # Letters that take two columns are not known to wrap.
            yield Line(line if width_of(line) <= room else cut(line, room), color)


def draw(scene: Scene, paper: Paper) -> list[Line]:
    """Everything, one rollout below the other."""
    lines = [*_head(scene, paper)]
    for view in scene.views:
        lines += [Line(""), *draw_view(view, scene.at, paper)]
    if not scene.views:
        lines += [Line(""), *paper.wrapped("nothing is declared or started here yet")]
    behind = "yellow" if scene.behind else ""
    return [*lines, Line(""), *paper.wrapped(_processes(scene), behind)]


def _head(scene: Scene, paper: Paper) -> Iterator[Line]:
    revision = "" if scene.revision is None else f", revision {scene.revision}"
    left, right = f"namespace {scene.namespace}{revision}", f"{instant(scene.at)[11:]} UTC"
    gap = paper.width - width_of(left) - width_of(right)
    yield Line(f"{left}{' ' * gap}{right}" if gap > 0 else cut(left, paper.width).rstrip())
    if scene.trouble:
        yield from paper.wrapped(scene.trouble, "red")


def _processes(scene: Scene) -> str:
    if not scene.reports:
        return "no process reports"
    behind = f", {scene.behind} of them behind" if scene.behind else ""
    return f"{number(scene.reports, 'process', 'processes')} reporting{behind}"


def draw_view(view: View, now: float, paper: Paper) -> Iterator[Line]:
    """One rollout."""
    entry = view.entry
    if entry is None:
        yield from paper.wrapped(f"{view.name}: idle, run: canary start {view.name}")
        return
    yield from paper.wrapped(
        _title(view, entry), "red" if view.killed else _PHASES.get(entry.phase, "")
    )
    at, told = bake(entry, now), view.told(now)
    if at and not view.killed:
        yield from _bake(at, paper)
    yield from _waits(view, entry, now, paper)
    # Before the tables, for the end may not fit on a terminal.
    yield from _words(view, told, now, paper)
    if view.numbers:
        yield Line("")
        yield from _versions(view.sides(), entry, paper)
    if told and told.verdict.findings:
        yield Line("")
        yield from _guards(told, paper)
    if view.numbers:
        yield from paper.wrapped(totals(view.numbers.processes, view.numbers.age))


def _title(view: View, entry: Entry) -> str:
    where = f"{entry.phase.value.replace('_', ' ')} at {format_weight(entry.weight)}"
    if view.killed:
        why = f" ({view.killed.why})" if view.killed.why else ""
        where = f"KILLED by {view.killed.by}{why}, it was {where}"
    owner = f", owner {entry.plan.owner}" if entry.plan.owner else ""
    return f"{view.name}  {entry.stable} -> {entry.release}  {where}{owner}"


def _bake(at: Bake, paper: Paper) -> Iterator[Line]:
    text = f"step {at.step} of {at.steps}"
    if not at.needed:
        then = f", then {at.then}" if at.then else ""
        yield Line(cut(f"{text}, moved by hand{then}", paper.width).rstrip())
        return
    words = f"{lasting(min(at.passed, at.needed))} of {lasting(at.needed)}{_then(at)}"
    room = paper.width - width_of(text) - width_of(words) - 4
    bar = paper.bar(at.passed / at.needed, min(_MOST, room)) if room >= _LEAST else ""
    yield from paper.wrapped("  ".join(part for part in (text, bar, words) if part))


def _then(at: Bake) -> str:
    return f", {at.onward}" if at.onward else ""


def _waits(view: View, entry: Entry, now: float, paper: Paper) -> Iterator[Line]:
    """What somebody has to know before any number."""
    drill = drilling(entry, now)
    if drill:
        left = lasting(drill.begun + drill.seconds - now)
        hit = f"{drill.fault} in {format_weight(drill.share)} of canary requests"
        yield from paper.wrapped(f"DRILL: {hit}, for another {left}", "yellow")
    if entry.noted:
        yield from paper.wrapped(f"observe mode, nothing was done: {entry.noted}", "yellow")
    if view.killed:
        return
    if entry.phase is Phase.PAUSED:
        yield from paper.wrapped(by_hand(view.name, entry), "yellow", indent="  ")
    if entry.phase is Phase.AWAITING_APPROVAL:
        yield from paper.wrapped(f"waits for: canary approve {view.name}", "yellow")
    elif entry.phase in _STILL and entry.why and not (view.last and view.last.why == entry.why):
        since = f"{entry.phase.value}, {ago(now - entry.since)} ago"
        yield from paper.wrapped(f"{since}: {entry.why}", "yellow")


def _versions(sides: Sequence[Side], entry: Entry, paper: Paper) -> Iterator[Line]:
    observed = {guard.of.upper(): [_observed(side, guard) for side in sides]
                for guard in entry.plan.guards
                if any(guard.name in side.observed for side in sides)}  # fmt: skip
    columns = {
        "VERSION": [f"{side.version} {side.cohort.value}" for side in sides],
        "SHARE": [format_weight(side.share) for side in sides],
        "REQUESTS": [f"{side.requests:,}" for side in sides],
        "ERRORS": [_part(side.errors, side.requests) for side in sides],
        "4XX": [_part(side.client_errors, side.requests) for side in sides],
        "P50 ALL": [_time(side.quantiles[0]) for side in sides],
        "P95 ALL": [_time(side.quantiles[1]) for side in sides],
        "P99 ALL": [_time(side.quantiles[2]) for side in sides],
        **observed,
    }
    # What is least missed gives way first, where the terminal is narrow.
    yield from _table(
        columns, paper, ("P50 ALL", "4XX", "P95 ALL", *reversed(observed), "SHARE", "P99 ALL")
    )


def _observed(side: Side, guard: Guard) -> str:
    times, bad = side.observed.get(guard.name, (0, 0))
    never = guard.metric is Metric.NEVER
    return f"{times:,} ({bad:,} above {guard.above:g})" if never else f"{times:,}"


def _table(
    columns: Mapping[str, list[str]], paper: Paper, gives: Sequence[str], colors: Sequence[str] = ()
) -> Iterator[Line]:
    kept = dict(columns)
    for name in gives:
        if _breadth(kept) <= paper.width:
            break
        kept.pop(name, None)
    rows = list(zip(*([name, *cells] for name, cells in kept.items()), strict=True))
    for at, text in enumerate(aligned(rows, paper.width)):
        color = colors[at - 1] if at and colors else ""
        yield Line(cut(text, paper.width).rstrip(), color)


def _breadth(columns: Mapping[str, list[str]]) -> int:
    widths = (max(map(width_of, [name, *cells])) for name, cells in columns.items())
    return sum(widths) + 2 * (len(columns) - 1)


def _guards(told: Told, paper: Paper) -> Iterator[Line]:
    found = told.verdict.findings
    facts = {
        "GUARD": [_name(one, told.guards[one.guard]) for one in found],
        told.release: [_share(one.canary, told.guards[one.guard]) for one in found],
        told.stable: [_share(one.stable, told.guards[one.guard]) for one in found],
    }
    # Two columns of bars, each with its percentage and a gap.
    room = (paper.width - _breadth(facts)) // 2 - 2
    columns = {
        **facts,
        "TO ROLLBACK": [_towards(one.log_e, one.threshold, one.breach, room, paper, "WORSE")
                        for one in found],
        "TO PROMOTION": [_proof(one, room, paper) for one in found],
    }  # fmt: skip
    yield from _table(columns, paper, (told.stable, told.release), [_color(one) for one in found])


def _name(found: Finding, guard: Guard) -> str:
    # Its p99 is not that of the table above.
    first = guard.metric is Metric.LATENCY and found.unit == "visitors"
    notes = ["1st request"] * first + ["warns"] * (found.action is not Action.BREACH)
    return f"{found.guard} ({', '.join(notes)})" if notes else found.guard


def _color(found: Finding) -> str:
    if found.breach:
        return "red" if found.action is Action.BREACH else "yellow"
    return "yellow" if found.suspect else "green" if found.proven else ""


def _towards(value: float, needed: float, there: bool, room: int, paper: Paper, word: str) -> str:
    share = 1.0 if there else min(max(value / needed if needed > 0 else 0.0, 0.0), 0.99)
    text = word if there else f"{100 * share:.0f}%"
    width = min(_MOST, room - max(5, len(word)) - 1)
    return f"{paper.bar(share, width)} {text}" if width >= _LEAST else text


def _proof(found: Finding, room: int, paper: Paper) -> str:
    if found.proof is None and not found.proven:
        return "-"
    return _towards(found.proof or 0.0, found.needed, found.proven, room, paper, "PROVEN")


def _share(share: Share, guard: Guard) -> str:
    if guard.metric is Metric.LATENCY and share.quantiles:
        at = QUANTILES.index(guard.quantile) if guard.quantile in QUANTILES else -1
        return f"{QUANTILES[at]} {_time(share.quantiles[at])}"
    if share.mean is not None:
        return f"{share.mean:.4g}"
    if share.of:
        return f"{share.events:,} of {share.of:,}"
    return f"{share.events:,}" if share.events else "-"


def _words(view: View, told: Told | None, now: float, paper: Paper) -> Iterator[Line]:
    if view.trouble:
        yield from paper.wrapped(f"its totals cannot be read: {view.trouble}", "red")
    if view.last:
        still = view.entry is not None and view.entry.phase in _STILL
        yield from paper.wrapped(_last(view.last, now), "yellow" if still else "", indent="  ")
    if told and view.entry and not view.ended:
        yield from paper.wrapped(standing(told, view.entry), indent="  ")


def _last(line: Audit, now: float) -> str:
    head = f"{ago(now - line.at)} ago: {line.action} by {line.by}"
    words = told_of(line)
    return f"{head}: {words}" if words else head


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else latency(seconds)


def _part(count: int, of: int) -> str:
    return f"{count:,} ({percent(count / of)})" if of else f"{count:,}"
