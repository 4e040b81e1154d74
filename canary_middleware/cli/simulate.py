"""``simulate``: what a rollout would take and cost, before anybody sees it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from canary_middleware.cli import supposing
from canary_middleware.cli.connection import Connection, a_duration, connected
from canary_middleware.cli.naming import any_rollout_argument, release_option
from canary_middleware.cli.show import Row, is_terminal, print_json, print_table, say
from canary_middleware.core.duration import format_duration
from canary_middleware.core.guards import Guard
from canary_middleware.core.state import Plan
from canary_middleware.core.telling import lasting
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.wording import shown
from canary_middleware.simulation.course import End, moving
from canary_middleware.simulation.forecast import RUNS, Bad, Forecast, Good, forecast
from canary_middleware.simulation.picture import about, svg
from canary_middleware.simulation.traffic import Traffic

WEEK: Final = 7 * 86_400

Read = Callable[[Any], Any]


def _read(read: Read) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def _rates(texts: tuple[str, ...]) -> dict[str, float]:
    return dict(map(supposing.a_rate, texts))


_SUPPOSED: Final = (
    click.option("--visitors", type=float, callback=_read(supposing.a_number), metavar="N",
                 help="Different visitors per day.  [10000]"),
    click.option("--requests", type=float, callback=_read(supposing.a_number), metavar="N",
                 help="Requests of one visit.  [3]"),
    click.option("--errors", callback=_read(supposing.a_share), metavar="SHARE",
                 help="Requests that fail now.  [1%]"),
    click.option("--p50", callback=_read(supposing.a_time), metavar="TIME",
                 help="Half of all answers start within it.  [100ms]"),
    click.option("--p99", callback=_read(supposing.a_time), metavar="TIME",
                 help="99 % of all answers do.  [500ms]"),
    click.option("--rate", "rates", multiple=True, callback=_read(_rates), metavar="NAME=SHARE",
                 help="Visits in which a declared metric is observed; several times."),
    click.option("--traffic", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
                 help="A TOML file with these and more; docs/simulate.md."),
    click.option("--live", is_flag=True, help="Traffic as measured since the rollout began."),
)  # fmt: skip


def supposed(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what traffic is like."""
    for option in reversed(_SUPPOSED):
        command = option(command)
    return command


@click.command(
    epilog="""\b
Examples:
  canary simulate
  canary simulate checkout --visitors 200000 --errors 0.3%
  canary simulate checkout --live --svg forecast.svg
"""
)
@any_rollout_argument
@release_option()
@supposed
@click.option(
    "--bake",
    callback=a_duration,
    default="10m",
    show_default=True,
    metavar="TIME",
    help="How long a person stays at each step of a ramp that does not move by itself.",
)
@click.option(
    "--within",
    callback=a_duration,
    default="7d",
    show_default=True,
    metavar="TIME",
    help="When nobody waits for the end any more.",
)
@click.option(
    "--runs",
    type=click.IntRange(2, 10_000),
    default=RUNS,
    show_default=True,
    help="Of each release.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="The same one gives the same numbers.",
)
@click.option(
    "--svg",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw it as well.",
)
@connected
def simulate(
    connection: Connection,
    rollout: str | None,
    release: str | None,
    rates: dict[str, float],
    traffic: Path | None,
    live: bool,
    bake: int,
    within: int,
    runs: int,
    seed: int,
    picture: Path | None,
    **options: float | None,
) -> None:
    """What a rollout would take and cost: made-up visitors, real judge and controller.

    With a name: the ramp and the guards that running processes declare, or canary.toml does.
    """  # fmt: skip
    plan, source = supposing.plan_of(connection, rollout, release)
    measured = supposing.live(connection, rollout, release) if live else None
    supposed = supposing.traffic_of(options, traffic, measured, rates)
    notes = list(_notes(plan, bake))
    plan = moving(replace(plan, guards=plan.guards or Guard.defaults()), bake)
    found = forecast(plan, supposed, runs=runs, seed=seed, until=float(within), tell=_tell)
    title = f"{rollout or 'a rollout with the defaults'}: {_ramp(plan)}"
    if picture is not None:
        picture.write_text(svg(found, title), encoding="utf-8")
    if connection.as_json:
        print_json(shape(found, rollout, source))
        return
    for line in _lines(found, title, source, notes, within):
        say(shown(line))
    print_table(_HEAD, [Row(_cells(bad)) for bad in found.bad])


def _tell(name: str) -> None:
    if is_terminal(sys.stderr) and os.environ.get("TERM", "dumb") != "dumb":
        click.echo(f"\r\033[Ksimulating: {name}" if name else "", nl=False, err=True)


def _notes(plan: Plan, bake: int) -> Iterator[str]:
    if not plan.guards:
        yield "it declares no guards: simulated with the default ones"
    if not plan.course.automatic:
        yield f"nothing moves this ramp but people: simulated with {format_duration(bake)} per step"
    if any(plan.course.approvals):
        yield "approvals are given at once"
    if plan.course.gate:
        yield "its webhook gate agrees at once"
    if plan.course.observe:
        yield "it only observes: what it would do is simulated as done"


# --- for people ----------------------------------------------------------------------------------

_HEAD: Final = (
    "A BAD RELEASE", "CAUGHT BEFORE 100%", "AFTER", "CANARY VISITORS", "BAD ANSWERS", "AT", "BY",
)  # fmt: skip


def _ramp(plan: Plan) -> str:
    steps = " ".join(map(format_weight, plan.steps))
    bakes = sorted(set(plan.course.bakes))
    each = lasting(bakes[0]) if len(bakes) == 1 else f"{lasting(bakes[0])} to {lasting(bakes[-1])}"
    return f"{steps}, {each} each"


def _lines(
    found: Forecast, title: str, source: str, notes: list[str], within: int
) -> Iterator[str]:
    plan, good = found.plan, found.good
    yield f"{title} ({source})"
    breaching = ", ".join(guard.name for guard in plan.guards if guard.breaches) or "none"
    warning = ", ".join(guard.name for guard in plan.guards if not guard.breaches)
    yield f"guards: {breaching}{f'; {warning} only warn' if warning else ''}"
    yield f"traffic: {_traffic(found.traffic)}; {len(good.ends)} runs of each release"
    yield from notes
    yield ""
    yield "A GOOD RELEASE"
    yield f"  promoted               {good.promoted:.0%}{_times(good)}"
    wrong = round(good.false_rollbacks * len(good.ends))
    promise = f"the judge promises {plan.course.alpha:.0%} at most"
    yield f"  rolled back by mistake {wrong} of {len(good.ends)} ({promise})"
    if good.under_way:
        lacking = ", ".join(name for name, _ in good.held_by)
        waits = f", for want of evidence on {lacking}" if lacking else ""
        yield f"  holding after {lasting(within)}   {good.under_way:.0%}{waits}"
        yield f"    such as: {good.reason}" if good.reason else ""
    yield ""


def _traffic(traffic: Traffic) -> str:
    latency = f"p50 {traffic.p50 * 1000:.3g} ms, p99 {traffic.p99 * 1000:.3g} ms"
    rates = "".join(f", {name} {share:.3g}" for name, share in traffic.rates.items())
    who = f"{traffic.visitors:,.0f} visitors a day, {traffic.requests:.3g} requests each"
    return f"{who}, {traffic.errors:.3%} fail, {latency}{rates}"


def _times(good: Good) -> str:
    half, most = good.time(0.5), good.time(0.9)
    if half is None:
        return ""
    later = f"90 % within {about(most)}" if most is not None else "less than 90 % in that time"
    proven = f"; {good.proven:.0%} of them proven up to the margins"
    return f", half of all within {about(half)}, {later}{proven}"


def _cells(bad: Bad) -> tuple[str, ...]:
    if not bad.ends:
        return (bad.harm.name, "no guard watches for this", "", "", "", "", "")
    time, visitors = bad.expected(_time), bad.expected(_visitors)
    failed = bad.expected(_failed)
    if time is None or visitors is None or failed is None or bad.weight is None:
        return (bad.harm.name, "0%", "", "", "", "", "")
    return (
        bad.harm.name,
        f"{bad.chance:.0%}",
        about(time),
        f"{visitors:,.0f}",
        f"{failed:,.0f}",
        format_weight(bad.weight),
        bad.guard,
    )


def _time(end: End) -> float:
    return end.time


def _visitors(end: End) -> float:
    return float(end.toll.visitors)


def _requests(end: End) -> float:
    return float(end.toll.requests)


def _failed(end: End) -> float:
    return float(end.toll.failed)


# --- for machines --------------------------------------------------------------------------------


def shape(found: Forecast, rollout: str | None, source: str) -> dict[str, Any]:
    """As docs/simulate.md promises."""
    plan, good, traffic = found.plan, found.good, found.traffic
    return {
        "rollout": rollout,
        "source": source,
        "steps": [format_weight(step) for step in plan.steps],
        "bakes": list(plan.course.bakes),
        "guards": [guard.name for guard in plan.guards],
        "alpha": plan.course.alpha,
        "runs": len(good.ends),
        "traffic": {
            "visitors": traffic.visitors,
            "requests": traffic.requests,
            "people": traffic.crowd,
            "errors": traffic.errors,
            "p50": traffic.p50,
            "p99": traffic.p99,
            "rates": dict(traffic.rates),
        },
        "good": {
            "promoted": good.promoted,
            "proven": good.proven,
            "seconds_median": good.time(0.5),
            "seconds_90": good.time(0.9),
            "false_rollbacks": good.false_rollbacks,
            "under_way": good.under_way,
            "lacking": dict(good.held_by),
            "reason": good.reason,
        },
        "bad": [_bad(bad) for bad in found.bad],
    }


def _bad(bad: Bad) -> dict[str, Any]:
    return {
        "name": bad.harm.name,
        "watched": bool(bad.ends),
        "caught_before_full": bad.chance,
        "seconds": bad.expected(_time),
        "canary_visitors": bad.expected(_visitors),
        "canary_requests": bad.expected(_requests),
        "bad_answers": bad.expected(_failed),
        "weight": None if bad.weight is None else format_weight(bad.weight),
        "guard": bad.guard,
    }
