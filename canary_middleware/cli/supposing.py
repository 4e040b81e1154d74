"""What a simulation is told: traffic from options, a file or live totals; a plan from somewhere."""

from __future__ import annotations

import re
import time
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from canary_middleware import measures, verbs
from canary_middleware.cli.connection import Connection
from canary_middleware.core.declared import declared_plan
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.guards import Guard, Metric
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import Entry, Plan
from canary_middleware.core.totals import quantile
from canary_middleware.core.weight import FULL, parse_weight
from canary_middleware.errors import ConfigurationError, VerbRefusedError
from canary_middleware.measures import Measured
from canary_middleware.simulation.traffic import DAY, Traffic

LEAST: Final = 200
"""Requests to stable below which live totals say nothing."""
_TIME: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s)\s*", re.ASCII)
DEFAULT: Final = Plan.from_rollout(
    Rollout(
        "defaults", stable="stable", canary="canary", guards=Guard.defaults(), ramp=Ramp.default()
    )
)


# --- plans ---------------------------------------------------------------------------------------


def plan_of(connection: Connection, name: str | None, release: str | None) -> tuple[Plan, str]:
    """The plan to simulate, and where it is from, for people.

    Raises:
        VerbRefusedError: nobody declares the rollout.
        ConfigurationError: ``canary.toml`` has mistakes.
        StoreError: the store does not answer.
    """
    if name is None:
        return DEFAULT, "the defaults"
    known: list[str] = []
    if _reaches(connection):
        with connection.store() as store:
            found = verbs.status(store)
        declared = [report for report in found.processes if name in report.plans]
        if declared:
            return declared_plan(declared, name, release), "as running processes declare it"
        entry = _entry(found, name, release)
        if entry is not None:
            return entry.plan, "as `start` froze it"
        known = sorted(found.known)
    return _written(connection, name, known)


def _reaches(connection: Connection) -> bool:
    """Whether a store is named that others can reach."""
    url = connection.url or str(connection.configuration.settings.get("store", ""))
    return bool(url) and not url.startswith("memory:")


def _entry(found: verbs.Status, name: str, release: str | None) -> Entry | None:
    for one in found.rollouts:
        if one.name == name:
            entries = {entry.release: entry for entry in one.entries}
            return entries.get(release) if release else one.current
    return None


def _written(connection: Connection, name: str, known: list[str]) -> tuple[Plan, str]:
    found = connection.configuration
    for rollout in found.rollouts:
        if rollout.name == name:
            if found.problems:
                raise ConfigurationError(found.problems)
            return Plan.from_rollout(rollout), f"from {found.file}"
    names = ", ".join(sorted(rollout.name for rollout in found.rollouts))
    where = f"{found.file} declares: {names or 'none'}" if found.file else "there is no canary.toml"
    if known:
        where = f"the store knows: {', '.join(known)}; {where}"
    hint = f"{where}; without a name the defaults are simulated"
    raise VerbRefusedError(f"{name}: nobody declares it", rollout=name, hint=hint)


# --- traffic -------------------------------------------------------------------------------------


def read_file(path: Path) -> dict[str, Any]:
    """Fields of :class:`Traffic` from a TOML file.

    Raises:
        click.UsageError: it is something else; all of it is said.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    found, wrong = {}, []
    for name, value in table.items():
        try:
            found[name] = _field(name, value)
        except ValueError as error:
            wrong.append(f"{path}: {name}: {error}")
    if wrong:
        raise click.UsageError("\n".join(wrong))
    return found


def _field(name: str, value: object) -> Any:
    if name in ("visitors", "requests", "people"):
        return a_number(value)
    if name == "errors":
        return a_share(value)
    if name in ("p50", "p99"):
        return a_time(value)
    if name == "visit":
        return float(parse_duration(value))
    if name == "rates":
        if not isinstance(value, dict):
            raise ValueError('is no table; write [rates] and below it orders = "5%"')
        return {metric: a_share(share) for metric, share in value.items()}
    raise ValueError("is unknown; docs/simulate.md has the names")


def a_number(value: object) -> float:
    """A positive number.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e10:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


def a_share(value: object) -> float:
    """``"5%"`` → 0.05."""
    return parse_weight(value) / FULL


def a_time(value: object) -> float:
    """``"120ms"`` → 0.12 (seconds).

    Raises:
        ValueError: it is no time.
    """
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if not 0 < seconds <= 600:
        raise ValueError(f'{value!r} is not a time; write something like "120ms" or "1.5s"')
    return seconds


def a_rate(text: str) -> tuple[str, float]:
    """``"orders=5%"`` → ``("orders", 0.05)``.

    Raises:
        ValueError: it is something else.
    """
    name, equals, share = text.partition("=")
    if not (name and equals):
        raise ValueError(f'{text!r} is no rate; write something like "orders=5%"')
    return name, a_share(share)


def checked(traffic: Traffic) -> Traffic:
    """The same.

    Raises:
        click.UsageError: its quantiles contradict each other.
    """
    if traffic.p99 <= traffic.p50:
        raise click.UsageError("p99 must be longer than p50")
    if traffic.requests < 1:
        raise click.UsageError("a visitor makes at least 1 request")
    return traffic


def live(connection: Connection, name: str | None, release: str | None) -> Traffic:
    """As it was measured since the start of a rollout that is under way.

    Raises:
        VerbRefusedError: nothing was measured, or too little.
        StoreError: the store does not answer.
    """
    if name is None:
        raise click.UsageError("--live needs the name of a rollout")
    with connection.store() as store:
        entry = _entry(verbs.status(store), name, release)
        if entry is None or not entry.run:
            raise _unmeasured(name, "it was never started, so nothing is measured")
        return measured_traffic(measures.read(store, name, entry), entry, time.time(), name)


def measured_traffic(measured: Measured, entry: Entry, now: float, name: str) -> Traffic:
    """Traffic as stable's totals have it; visitors are those of both versions."""
    ledgers = measured.ledgers
    stable = ledgers.seen.get(Cohort.STABLE)
    newcomers = sum(
        entries.n for arm, entries in ledgers.entries.items() if arm.cell.interval == (0, FULL)
    )
    if stable is None or stable.n < LEAST or not newcomers:
        count = 0 if stable is None else stable.n
        raise _unmeasured(name, f"{count} requests to stable were measured, {LEAST} are needed")
    p50, p99 = (quantile(stable.starts, share) for share in (0.5, 0.99))
    if p50 is None or p99 is None:
        raise _unmeasured(name, "no latency was measured")
    every = sum(seen.n for seen in ledgers.seen.values())
    return Traffic(
        visitors=newcomers / max(1.0, now - entry.begun) * DAY,
        requests=max(1.0, every / newcomers),
        errors=stable.failures / stable.n,
        p50=p50,
        p99=max(min(p99, entry.plan.course.timeout), 1.01 * p50),
        rates=_rates(measured, entry.plan),
    )


def _rates(measured: Measured, plan: Plan) -> Mapping[str, float]:
    matured = [one for arm, one in measured.evidence.matured.items() if arm.cohort is Cohort.STABLE]
    visitors = sum(one.n for one in matured)
    return {
        guard.of: sum(sum(one.hits.get(guard.name, ())) for one in matured) / visitors
        for guard in plan.matured
        if visitors and guard.metric in (Metric.SHARE, Metric.MEAN)
    }


def _unmeasured(name: str, words: str) -> VerbRefusedError:
    hint = "say what traffic is like with --visitors, --errors, --p50 and so on"
    return VerbRefusedError(f"{name}: {words}", rollout=name, hint=hint)


def traffic_of(
    options: Mapping[str, Any],
    file: Path | None,
    measured: Traffic | None,
    rates: Mapping[str, float],
) -> Traffic:
    """An option wins over the file, the file over what was measured, that over the default."""
    traffic = measured or Traffic()
    written = read_file(file) if file else {}
    given = {name: value for name, value in options.items() if value is not None}
    together = {**traffic.rates, **written.pop("rates", {}), **rates}
    return checked(replace(traffic, **{**written, **given}, rates=together))
