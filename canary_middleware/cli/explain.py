"""``explain``: the decision of a request, by the function that requests use."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

import click

from canary_middleware import claims, verbs
from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.naming import a_rollout_argument, release_option
from canary_middleware.cli.show import print_json, say
from canary_middleware.cli.whom import Asked, carrying, identified, lane_of
from canary_middleware.config import Configuration
from canary_middleware.core.claims import claim_key
from canary_middleware.core.model import Assignment, Policy
from canary_middleware.core.routing import MEMBERS, NEITHER, Place, Trace, route
from canary_middleware.core.snapshot import Lane
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import Affinity

UNKNOWN: Final = "audience: not known here (declared in code, not in canary.toml)"


@click.command(
    epilog="""\b
Examples:
  canary explain checkout --subject alice --group beta
  canary explain checkout --cookie "$VALUE"
"""
)
@a_rollout_argument
@click.option("--subject", metavar="ID", help="Somebody who was identified.")
@click.option("--group", "groups", multiple=True, help="A group of the subject; repeatable.")
@click.option("--cookie", metavar="VALUE", help="The visitor cookie of a browser.")
@release_option("Of which release.  [default: the current one]")
@connected
def explain(
    connection: Connection,
    rollout: str,
    subject: str | None,
    groups: Sequence[str],
    cookie: str | None,
    release: str | None,
) -> None:
    """Who gets which version, and why.

    Secrets come from CANARY_BUCKET_SECRET and CANARY_SECRET_KEYS or from the file of --config,
    which also tells who the testers are.
    """
    if bool(subject) == bool(cookie):
        raise click.UsageError("give one of --subject and --cookie")
    configuration = connection.configuration
    asked = (
        identified(configuration, subject, groups)
        if subject
        else carrying(configuration, connection.namespace, cookie or "")
    )
    with connection.store() as store:
        found = verbs.status(store)
        lane = lane_of(connection.namespace, configuration, found, rollout, release)
        place = _place(store, lane, asked)
    trace: Trace = []
    assignment = route(lane, asked.visitor, place, trace=trace)
    notes = (*asked.notes, *_notes(lane, asked))
    audience = _audience(assignment, trace)
    if NEITHER in trace and not _declared(configuration, assignment):
        audience, trace = None, [UNKNOWN if line == NEITHER else line for line in trace]
    if connection.as_json:
        print_json(_shape(assignment, lane, trace, notes, audience))
    else:
        _print(assignment, lane, trace, notes)


def _audience(assignment: Assignment, trace: Trace) -> str | None:
    if NEITHER in trace:
        return "neither"
    return assignment.reason.value if assignment.reason in MEMBERS else None


def _declared(configuration: Configuration, assignment: Assignment) -> bool:
    """Whether the file says who the testers and the denied visitors of this release are."""
    asked = (assignment.rollout, assignment.release)
    return any((one.name, one.canary) == asked for one in configuration.rollouts)


def _place(store: StateStore, lane: Lane, asked: Asked) -> Place:
    """Everything that decides between pin and weight, where requests look for it."""
    if lane.shared and isinstance(store, Affinity):
        key = claim_key(lane.track.key, asked.drawn.kind, asked.drawn.subject)
        held = claims.found(store, lane, key)
        if held is not None:
            return claims.place(lane, held.listed.claim)
    cookie = None if lane.shared else asked.cookie
    pin = cookie.pin(lane.tag) if cookie is not None and lane.tag else None
    return Place(asked.drawn, pin, now=time.time())


def _notes(lane: Lane, asked: Asked) -> Iterable[str]:
    if lane.policy is Policy.REQUEST:
        yield "policy request: every request is drawn by chance, this is one of them"
    elif lane.pins and not lane.shared and asked.cookie is None:
        yield "a browser of this subject may carry a pin, which counts there; ask with its --cookie"


def _shape(
    assignment: Assignment, lane: Lane, trace: Trace, notes: Sequence[str], audience: str | None
) -> dict[str, object]:
    return {
        "rollout": assignment.rollout,
        "release": assignment.release,
        "cohort": assignment.cohort.value,
        "version": assignment.version,
        "reason": assignment.reason.value,
        "phase": lane.entry.phase.value if lane.entry else "idle",
        "audience": audience,
        "trace": trace,
        "notes": notes,
    }


def _print(assignment: Assignment, lane: Lane, trace: Trace, notes: Sequence[str]) -> None:
    phase = lane.entry.phase.value.replace("_", " ") if lane.entry else "idle"
    cohort, reason = assignment.cohort.value, assignment.reason.value
    hedged = ", unless the application knows it as a tester or denied" if UNKNOWN in trace else ""
    said = f"{cohort}, version {assignment.version}, reason {reason}{hedged}"
    say(shown(f"{assignment.rollout}: {said}"))
    say(shown(f"  release {assignment.release}: {phase}"))
    for line in trace:
        say(f"  {shown(line)}")
    for note in notes:
        say(f"note: {note}")
