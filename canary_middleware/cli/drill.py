"""``drill``: prove on live traffic that a bad canary is found and taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import click

from canary_middleware import verbs
from canary_middleware.cli.asking import asks, be_sure, yes_option
from canary_middleware.cli.changing import done
from canary_middleware.cli.connection import (
    Author,
    Connection,
    Finite,
    a_duration,
    a_weight,
    authored,
    connected,
)
from canary_middleware.cli.following import INTERRUPTED
from canary_middleware.cli.naming import a_rollout_argument, release_option
from canary_middleware.cli.rehearsing import Rehearsal, Result, Way
from canary_middleware.cli.show import print_json, say
from canary_middleware.core.drill import LONGEST, Drill, Fault, parse_delay
from canary_middleware.core.duration import format_duration
from canary_middleware.core.guards import Guard
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Entry
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.overview import shapes
from canary_middleware.overview.rehearsal import prospects
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore

DETECTED: Final = 0
NOT_DETECTED: Final = 1


def _a_delay(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        return parse_delay(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


@click.command(
    epilog="""\b
Examples:
  canary drill checkout --fault error --for 60s
  canary drill checkout --fault latency --delay 2s --yes --json
  canary drill checkout --stop
"""
)
@a_rollout_argument
@click.option(
    "--fault", type=click.Choice([fault.value for fault in Fault]), help="What goes wrong."
)
@click.option(
    "--share",
    callback=a_weight,
    default="20%",
    show_default=True,
    metavar="WEIGHT",
    help="Of the canary's requests.",
)
@click.option(
    "--for",
    "seconds",
    callback=a_duration,
    default="60s",
    show_default=True,
    metavar="TIME",
    help="After which every process ends it by itself.",
)
@click.option(
    "--delay",
    callback=_a_delay,
    default="2s",
    show_default=True,
    metavar="TIME",
    help="Added to an answer (latency).",
)
@click.option("--metric", metavar="NAME", help="Observed once more than it happened (events).")
@click.option(
    "--value", type=Finite(0, 1e15), default=1.0, show_default=True, help="Of it (events)."
)
@release_option()
@yes_option
@click.option("--stop", is_flag=True, help="End the one that is under way.")
@connected
@authored
def drill(
    connection: Connection,
    author: Author,
    rollout: str,
    fault: str | None,
    share: int,
    seconds: int,
    delay: float,
    metric: str | None,
    value: float,
    release: str | None,
    yes: bool,
    stop: bool,
) -> int:
    """Inject faults into the canary, and see whether it is rolled back.

    Only visitors who were drawn to the canary are hit: never stable, never testers. Exit 0: found
    and taken back. Exit 1: not found; evidence begins anew and the ramp is paused. It asks on a
    terminal and needs --yes elsewhere.
    """
    if stop:
        document, entry = done(connection, author, verbs.settle, rollout, release=release)
        if connection.as_json:
            print_json(shapes.change(document, rollout, entry))
        else:
            say(f"{rollout}: the drill is over; {_anew(rollout)}")
        return 0
    kind = _checked_usage(fault, metric, share, seconds)
    ask = asks(connection, yes=yes)
    planned = Drill(
        kind, share, time.time(), seconds,
        delay=delay if kind is Fault.LATENCY else 0.0,
        of=metric or "", value=value, by=author.by,
    )  # fmt: skip
    with connection.store() as store:
        return _rehearse(connection, author, store, rollout, release, planned, ask=ask)


def _checked_usage(fault: str | None, metric: str | None, share: int, seconds: int) -> Fault:
    if fault is None:
        raise click.UsageError("say what goes wrong: --fault error")
    if (fault == Fault.EVENTS) != (metric is not None):
        raise click.UsageError("--metric belongs to --fault events, which needs it")
    if not share:
        raise click.UsageError("a share of 0% is no drill")
    if not 0 < seconds <= LONGEST:
        raise click.UsageError(f"a drill lasts 1s to {format_duration(LONGEST)}")
    return Fault(fault)


def _rehearse(
    connection: Connection,
    author: Author,
    store: StateStore,
    rollout: str,
    release: str | None,
    drill: Drill,
    *,
    ask: bool,
) -> int:
    entry, watching = prospects(store, rollout, release, drill)
    told = not connection.as_json
    if told:
        for line in _announced(rollout, entry, drill, watching, store.processes()):
            say(shown(line))
    if ask:
        be_sure(f"{rollout} {entry.release}: the drill begins now", rollout=rollout)
        drill = replace(drill, begun=time.time())  # whoever answers late loses nothing of it
    rehearsal = Rehearsal.begin(store, rollout, entry, drill, why=author.why, aloud=told)
    try:
        result = rehearsal.watch()
    except KeyboardInterrupt:
        rehearsal.settle("ended by Ctrl-C")
        say(f"canary: the drill is over; {_anew(rollout)}", err=True)
        return INTERRUPTED
    if told:
        for line in _reported(rollout, result):
            say(shown(line))
    else:
        print_json(shape(rollout, result))
    return DETECTED if result.detected else NOT_DETECTED


# --- before -------------------------------------------------------------------------------------


def _announced(
    rollout: str,
    entry: Entry,
    drill: Drill,
    watching: tuple[Guard, ...],
    processes: list[ProcessReport],
) -> Iterator[str]:
    share, weight = format_weight(drill.share), format_weight(entry.weight)
    of_all = format_weight(max(1, entry.weight * drill.share // FULL))
    most = format_duration(drill.seconds)
    yield (
        f"drill of {rollout} {entry.release}: {drill.fault} in up to {share} of the canary's "
        f"requests, at {weight}: about {of_all} of all, for {most} at most"
    )
    yield f"who is hit {_suffers(drill, entry)}"
    if drill.fault is Fault.HANG and any("wsgi" in one.kind for one in processes):
        yield (
            "WSGI: each request that hangs occupies a thread of its worker, which serves stable "
            "too; a server that ends slow workers ends it"
        )
    names = " or ".join(one.name for one in watching)
    back = "paused" if entry.plan.course.on_breach == "pause" else "rolled back"
    yield f"expected to see it: {names}; then {entry.release} is {back}"
    yield f"  begin it again with: canary start {rollout} --again"
    yield "it ends by itself, whatever becomes of this command; Ctrl-C ends it at once"


def _suffers(drill: Drill, entry: Entry) -> str:
    rescued = "; requests that may run twice are rescued by stable, where rescue is on"
    if drill.fault is Fault.ERROR:
        return f"gets a 503 in place of the answer{rescued}"
    if drill.fault is Fault.EXCEPTION:
        return f"meets an exception where the answer starts, a 500 of the server{rescued}"
    if drill.fault is Fault.LATENCY:
        return f"waits {drill.delay:g} s longer"
    if drill.fault is Fault.HANG:
        return f"waits up to {entry.plan.course.timeout + 1:g} s and gets a 503{rescued}"
    return f"notices nothing: {drill.of} is observed with {drill.value:g} in addition"


# --- afterwards ---------------------------------------------------------------------------------


def _anew(rollout: str) -> str:
    return f"evidence begins anew and the ramp is paused: canary resume {rollout}"


_ENDED: Final = {
    Way.PRECAUTION: "the precaution took everybody off before a guard could tell the versions "
    "apart",
    Way.KILLED: "a kill came in between",
    Way.BY_HAND: "a person took it back before a guard did",
    Way.STOPPED: "somebody ended the drill",
}


def _reported(rollout: str, found: Result) -> Iterator[str]:
    if found.detected:
        yield f"DETECTED after {found.after:.1f} s by guard {found.guard}: {found.why}"
    else:
        why = _ENDED.get(found.way) or f"{found.drill.seconds} s were not enough"
        yield f"NOT DETECTED: {why}"
    yield f"hit: {_hit(found)}"
    if found.last is not None:
        arrived = f"arrived {found.last:.1f} s after the beginning"
        yield f"the totals of the last canary answers {arrived}"
    if found.way is Way.EXPIRED:
        yield from _advice(rollout, found)
    elif found.way is Way.ROLLED_BACK:
        yield f"begin it again with: canary start {rollout} --again"


def _hit(found: Result) -> str:
    requests = f"{found.requests:,} of {found.canary_requests:,} canary requests since it began"
    if found.visitors is None:
        return requests
    visitors = f"{found.visitors:,} of {found.canary_visitors:,} canary visitors"
    return f"{requests}, {visitors} since the start of {found.release}"


def _advice(rollout: str, found: Result) -> Iterator[str]:
    if not found.requests:
        yield "no request was hit: is there traffic on the canary, and is the clock here right?"
    elif found.strongest:
        yield f"the strongest guard had {found.strongest}"
        yield "a larger --share, a longer --for or a higher weight shows more"
    yield _anew(rollout)


def shape(rollout: str, found: Result) -> dict[str, object]:
    """As docs/drill.md promises."""
    return {
        "rollout": rollout,
        "release": found.release,
        "fault": found.drill.fault.value,
        "share": format_weight(found.drill.share),
        "seconds": found.drill.seconds,
        "detected": found.detected,
        "end": found.way.value,
        "after": None if found.after is None else round(found.after, 3),
        "guard": found.guard,
        "why": found.why,
        "requests": found.requests,
        "visitors": found.visitors,
        "canary_requests": found.canary_requests,
        "canary_visitors": found.canary_visitors,
        "last_canary_answer": None if found.last is None else round(found.last, 3),
    }
