"""What the API tells: functions that ask the store, in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from canary_middleware import verbs
from canary_middleware.core.records import Audit
from canary_middleware.core.validate import NAME
from canary_middleware.errors import Problem, StoreError, UnknownRolloutError
from canary_middleware.overview import doubts, shapes
from canary_middleware.overview import series as charts
from canary_middleware.overview.gathering import gather, view
from canary_middleware.overview.series import POINTS
from canary_middleware.overview.wording import shown
from canary_middleware.panel.action import BadInputError
from canary_middleware.panel.site import Site

Look = Callable[[Site, str, Mapping[str, int | None]], Any]
"""Site, name of a rollout (``""`` where the path has none) and parameters → what JSON has."""

DAY: Final = 86_400
"""Seconds."""
KEPT: Final = 1_000
"""Lines of history that a store keeps."""


def status(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """Everything at one glance, as ``canary status --json`` prints it."""
    found = verbs.status(site.store)
    views = {one.name: view(site.store, found, one.name) for one in found.rollouts}
    return shapes.status(site.namespace, found, views, time.time())


def rollouts(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """All rollouts, as ``canary watch --json`` prints them."""
    return shapes.scene(gather(site.store, site.namespace))


def one_rollout(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """One of them, with all its remembered releases."""
    found = _known(site, rollout)
    return shapes.rollout(site.namespace, found, view(site.store, found, rollout), time.time())


def processes(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """Who lives."""
    return shapes.processes(site.namespace, verbs.status(site.store), time.time())


def history(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """Who changed what, as ``canary history --json`` prints it."""
    limit, before = query["limit"] or 0, query["before"]
    lines = verbs.history(site.store, rollout or None, KEPT)
    if rollout and not lines:
        _known(site, rollout)
    return [shapes.audit(line) for line in page(lines, limit, before)]


def series(site: Site, rollout: str, query: Mapping[str, int | None]) -> Any:
    """What was measured over time, by version."""
    _known(site, rollout)
    until = query["until"] if query["until"] is not None else int(time.time())
    since = query["since"] if query["since"] is not None else max(0, until - DAY)
    if since >= until:
        raise BadInputError([Problem("since", "is not before until", "seconds since the epoch")])
    if site.charts is None:
        raise StoreError("this store keeps no points of charts")
    return charts.shape(site.charts.read(rollout, since, until, query["points"] or POINTS))


def page(lines: Sequence[Audit], limit: int, before: int | None) -> Sequence[Audit]:
    """The newest lines before a revision; more than ``limit`` where these are of one revision."""
    left = [line for line in lines if before is None or line.revision < before]
    end = limit
    while 0 < end < len(left) and left[end].revision == left[end - 1].revision:
        end += 1
    return left[:end]


def _known(site: Site, rollout: str) -> verbs.Status:
    """The status.

    Raises:
        UnknownRolloutError: neither the state nor any process knows the rollout.
    """
    if not NAME.fullmatch(rollout):
        message = f"{shown(rollout[:80])!r} is not a name of a rollout"
        raise UnknownRolloutError(message, hint="letters, digits, - and _, at most 64")
    found = verbs.status(site.store)
    if rollout not in found.known:
        nothing = "nothing is known there: start an application that declares it"
        raise doubts.unknown_rollout(rollout, site.namespace, found.known, nothing)
    return found
