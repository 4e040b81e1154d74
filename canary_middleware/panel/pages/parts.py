"""Parts of pages as HTML, made from one look; a live page gets those that have changed.

Blocks on the store (history, charts), so it runs in a thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from markupsafe import Markup

from canary_middleware.core.evidence import Told
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import Entry
from canary_middleware.core.telling import lasting
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.scene import View, bake
from canary_middleware.overview.wording import ago, number, standing, totals, weighed
from canary_middleware.panel.pages.looking import Look, lines
from canary_middleware.panel.pages.offers import offers
from canary_middleware.panel.pages.plots import SPANS, Charts, span_of
from canary_middleware.panel.pages.rendering import render
from canary_middleware.panel.pages.tables import judged, versions
from canary_middleware.panel.pages.trail import trail
from canary_middleware.panel.pages.words import following, general, notes, state
from canary_middleware.stores import StateStore

CSRF: Final = Markup("\ue000")
"""Stands for the token of a viewer, so that what is the same for all is rendered once.

No text from a store has it: what cannot be printed is escaped."""

MOST: Final = 200
"""Processes in a table: nobody reads more, and all of them are sent anew every second."""
Parts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Topic:
    """What somebody looks at.

    Attributes:
        page: ``overview``, ``rollout`` or ``processes``.
        operate: whether buttons are shown.
        root: the way to the root of the panel.
        name: of the rollout.
        span: key of the time that charts show, if one was chosen.
    """

    page: str
    operate: bool
    root: str
    name: str = ""
    span: str = ""


def parts(
    store: StateStore, charts: Charts, look: Look, topic: Topic, drawn: str | None = None
) -> Parts:
    """All parts of a page, by name.

    Args:
        store: for history.
        charts: reads those.
        look: what was seen.
        topic: which page, for whom.
        drawn: charts of a moment ago, where nothing new can be in them.

    Raises:
        StoreError: the store does not answer.
    """
    if topic.page == "rollout":
        return _rollout(store, charts, look, topic, drawn)
    return _overview(look, topic) if topic.page == "overview" else _everyone(look)


class Card(NamedTuple):
    """One rollout on the overview."""

    name: str
    state: Any
    entry: Entry | None
    weight: int
    share: str
    at: Any
    versions: Any
    next: Any
    notes: Any


class Step(NamedTuple):
    """One step of a ramp: ``done``, ``now`` or ``ahead``."""

    weight: str
    kind: str
    told: str


class Row(NamedTuple):
    """One process."""

    host: str
    pid: int
    kind: str
    revision: str
    behind: bool
    confirmed: str
    running: int
    streams: int
    declares: str
    silent: tuple[str, ...]


def _overview(look: Look, topic: Topic) -> Parts:
    cards = sorted((_card(look, view) for view in look.views.values()), key=_urgency)
    scopes = sorted(look.status.kills)
    return {
        "notes": render("parts/notes.html", notes=list(general(look))),
        "revive": render("parts/revive.html", root=topic.root, scopes=scopes),
        "overview": render("parts/overview.html", root=topic.root, cards=cards),
        "facts": render(
            "parts/facts.html", root=topic.root, processes=len(look.status.processes),
            revision=look.revision, at=look.at,
        ),
    }  # fmt: skip


_URGENT: Final = (
    "killed", "awaiting_approval", "holding", "paused", "ramping", "rolled_back", "promoted",
    "idle", "finished",
)  # fmt: skip


def _urgency(card: Card) -> tuple[int, str]:
    """What a person may have to do something about comes first."""
    return _URGENT.index(card.state.kind), card.name


def _card(look: Look, view: View) -> Card:
    return Card(
        view.name, state(view), view.entry, _weight(view), _share(view),
        view.entry and bake(view.entry, look.at), versions(view),
        following(view, look.at), list(notes(look, view)),
    )  # fmt: skip


def _weight(view: View) -> int:
    return 0 if view.killed or view.entry is None else view.entry.weight


def _share(view: View) -> str:
    return weighed(view.entry, killed=view.killed is not None) if view.entry else ""


def _rollout(
    store: StateStore, charts: Charts, look: Look, topic: Topic, drawn: str | None
) -> Parts:
    view = look.views[topic.name]
    told, past = view.told(look.at), lines(store, topic.name)
    return {
        "head": _head(look, view, topic),
        "now": _now(look, view, told),
        "versions": _versions(view),
        "evidence": _evidence(view, told),
        "charts": drawn or _charts(charts, look, topic, past),
        "processes": _processes(look, topic.name),
        "trail": render("parts/trail.html", root=topic.root, rows=trail(past), plain=False,
                        name=topic.name),
    }  # fmt: skip


def _charts(charts: Charts, look: Look, topic: Topic, past: Sequence[Audit]) -> Markup:
    found = charts.of(look.views[topic.name], past, span_of(topic.span), look.at)
    return render("parts/charts.html", **found, spans=SPANS)


def _head(look: Look, view: View, topic: Topic) -> Markup:
    return render(
        "parts/head.html", root=topic.root, csrf=CSRF, name=view.name, entry=view.entry,
        state=state(view), operate=topic.operate, revision=look.revision,
        offers=list(offers(look, view.name)) if topic.operate else [],
    )  # fmt: skip


def _now(look: Look, view: View, told: Told | None) -> Markup:
    return render(
        "parts/now.html", entry=view.entry, weight=_share(view), revision=look.revision,
        next=following(view, look.at), notes=list(notes(look, view)),
        standing=standing(told, view.entry) if told and view.entry and not view.ended else "",
        exposed=_exposed(view, told), ramp=list(_ramp(view, look.at)),
    )  # fmt: skip


def _exposed(view: View, told: Told | None) -> str:
    sides = view.sides()
    if not sides:
        return "not counted"
    requests = number(sides[0].requests, "request", "requests")
    if told is None or told.unit != "visitors":
        return requests
    return f"{number(told.verdict.visitors[0], 'visitor', 'visitors')}, {requests}"


def _ramp(view: View, now: float) -> Iterator[Step]:
    entry = view.entry
    if entry is None:
        return
    course = entry.plan.course
    for at, weight in enumerate(entry.plan.steps):
        told = [lasting(course.bakes[at])] if at < len(course.bakes) else []
        told += ["approval"] if at < len(course.approvals) and course.approvals[at] else []
        kind = "now" if at == entry.step else "done" if at <= entry.reached else "ahead"
        yield Step(format_weight(weight), kind, ", ".join(told))


def _versions(view: View) -> Markup:
    told = totals(view.numbers.processes, view.numbers.age) if view.numbers else ""
    return render("parts/versions.html", rows=versions(view), totals=told.capitalize() + ".")


def _evidence(view: View, told: Told | None) -> Markup:
    entry = view.entry
    none = "This rollout declares no guards: nothing is compared, and nothing moves it but people."
    if entry is not None and entry.plan.guards:
        none = "Nothing was measured yet."
    return render(
        "parts/evidence.html", rows=judged(told) if told else [], none=none,
        firsts=told is not None and told.unit == "visitors",
        release=entry.release if entry else "", stable=entry.stable if entry else "",
        alpha=entry.plan.course.alpha if entry else 0.0,
    )  # fmt: skip


def _processes(look: Look, name: str = "") -> Markup:
    found = [one for one in look.status.processes if not name or name in one.plans]
    # Who is in trouble is never among those that are left out.
    found.sort(key=lambda one: not (one.silent or look.status.behind(one)))
    rows = [_row(look, one) for one in found[:MOST]]
    return render("parts/processes.html", rows=rows, plain=not name, more=len(found) - len(rows))


def _row(look: Look, one: ProcessReport) -> Row:
    declares = ", ".join(f"{name} {plan.canary}" for name, plan in sorted(one.plans.items()))
    return Row(
        host=one.host,
        pid=one.pid,
        kind=one.kind,
        revision=str(one.revision) if one.revision >= 0 else "none",
        behind=look.status.behind(one),
        confirmed="never" if one.staleness is None else f"{ago(one.staleness)} ago",
        running=one.in_flight,
        streams=sum(stream.open for stream in one.streams),
        declares=declares,
        silent=tuple(
            f"{label} of {name} does not answer{f': {why}' if why else ''}"
            for name, label, why in one.silent
        ),
    )


def _everyone(look: Look) -> Parts:
    return {
        "notes": render("parts/notes.html", notes=list(general(look))),
        "processes": _processes(look),
    }
