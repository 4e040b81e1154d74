"""What ``--json`` prints; docs/cli.md promises these names. Times are seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from canary_middleware.core.drift import SCOPE, Odd, Scoped
from canary_middleware.core.records import Audit, OpenStreams, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Entry, Kill, Phase
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.killing import current_of, knows, struck_by
from canary_middleware.overview.scene import Scene, View
from canary_middleware.overview.shapes_measured import measured, ramp
from canary_middleware.verbs import Status

Shape = Mapping[str, Any]


def release(entry: Entry) -> Shape:
    """One release of a rollout."""
    return {
        "release": entry.release,
        "stable": entry.stable,
        "phase": entry.phase.value,
        "weight": format_weight(entry.weight),
        "owner": entry.plan.owner,
        "policy": entry.plan.policy.value,
        "affinity": entry.plan.affinity.value,
        "since": entry.since,
        "why": entry.why,
        "epoch": entry.epoch,
        "period": entry.period,
        "rollback_until": entry.warm_until if entry.phase is Phase.PROMOTED else None,
    }


def change(document: Document, rollout: str, entry: Entry) -> Shape:
    """What a verb made of a rollout."""
    return {"rollout": rollout, "revision": document.revision, **release(entry)}


def kill(scope: str, struck: Kill) -> Shape:
    """One kill in force."""
    return {
        "scope": scope,
        "by": struck.by,
        "why": struck.why,
        "at": struck.at,
        "revision": struck.revision,
    }


def struck(
    document: Document | None,
    scope: str,
    reports: Sequence[ProcessReport] | None,
    *,
    persisted: bool,
) -> Shape:
    """What a kill did; where it could not be kept, of the document that there was before."""
    kept = document.kills.get(scope) if document and persisted else None
    return {
        "scope": scope,
        "persisted": persisted,
        "revision": kept.revision if kept else None,
        "kills": sorted(document.kills) if document else [],
        "known": knows(document, reports, scope),
        "hit": [
            {"rollout": name, **release(entry), "everybody_on": entry.stable}
            for name, entry in struck_by(document, scope, reports)
        ],
    }


def revived(document: Document, scope: str, reports: Sequence[ProcessReport]) -> Shape:
    """What lifting a kill did."""
    return {
        "scope": scope,
        "revision": document.revision,
        "still_killed": sorted(document.kills),
        "kill_files": sorted({one.host for one in reports if one.kill_file is not None}),
        "rollouts": [change(document, *found) for found in current_of(document, scope)],
    }


def status(namespace: str, found: Status, views: Mapping[str, View], now: float) -> Shape:
    """Everything at once."""
    document = found.document
    return {
        "namespace": namespace,
        "lineage": document.lineage if document else None,
        "revision": document.revision if document else None,
        "kill_key": found.kill_key,
        "warnings": list(found.warnings),
        "kills": [
            {**kill(scope, struck), "known": scope == EVERYTHING or scope in found.known}
            for scope, struck in found.kills.items()
        ],
        "rollouts": [
            {
                "rollout": rollout.name,
                "killed": rollout.killed is not None,
                "current": release(rollout.current) if rollout.current else None,
                "releases": [release(entry) for entry in rollout.entries],
                **progress(views[rollout.name], now),
            }
            for rollout in found.rollouts
        ],
        "waiting": [
            {"rollout": waiting.rollout, "release": waiting.release, "run": waiting.command}
            for waiting in found.waiting
        ],
        "odd": [_odd(odd) for odd in found.odd],
        "scopes": [_scoped(scoped) for scoped in found.scopes],
        "streams": [_streams(one) for one in found.streams],
        "processes": [_process(found, process) for process in found.processes],
    }


def rollout(namespace: str, found: Status, view: View, now: float) -> Shape:
    """One rollout with all its remembered releases."""
    known = next((one for one in found.rollouts if one.name == view.name), None)
    scopes = (EVERYTHING, view.name)
    return {
        "namespace": namespace,
        "at": now,
        "revision": found.document.revision if found.document else None,
        **_view(view, now),
        "kills": [kill(scope, one) for scope, one in found.kills.items() if scope in scopes],
        "releases": [release(entry) for entry in known.entries] if known else [],
    }


def processes(namespace: str, found: Status, now: float) -> Shape:
    """Who lives."""
    return {
        "namespace": namespace,
        "at": now,
        "revision": found.document.revision if found.document else None,
        "processes": [_process(found, process) for process in found.processes],
    }


def _streams(one: OpenStreams) -> Shape:
    return {
        "rollout": one.rollout,
        "version": one.version,
        "open": one.open,
        "losing": one.losing,
        "within": one.within,
    }


def _odd(odd: Odd) -> Shape:
    return {
        "rollout": odd.rollout,
        "release": odd.release,
        "differs": [
            {"what": one.what, "declared": one.declared, "in_force": one.in_force}
            for one in odd.differs
        ],
        "processes": [process.id for process in odd.processes],
        "run": odd.command,
    }


def _scoped(scoped: Scoped) -> Shape:
    return {
        "rollout": scoped.rollout,
        "release": scoped.release,
        **{name: list(getattr(scoped.plan, name)) for name in SCOPE},
        "processes": [process.id for process in scoped.processes],
    }


def _process(found: Status, process: ProcessReport) -> Shape:
    return {
        "id": process.id,
        "host": process.host,
        "pid": process.pid,
        "kind": process.kind,
        "revision": process.revision if process.revision >= 0 else None,
        "behind": found.behind(process),
        "staleness": process.staleness,
        "in_flight": process.in_flight,
        "streams": [_streams(one) for one in process.streams],
        "silent": [
            {"rollout": name, "version": label, "why": why or None}
            for name, label, why in process.silent
        ],
        "at": process.at,
        "kill_file": process.kill_file,
        "declares": {name: plan.canary for name, plan in process.plans.items()},
    }


def scene(found: Scene) -> Shape:
    """One look of ``watch``."""
    return {
        "namespace": found.namespace,
        "at": found.at,
        "revision": found.revision,
        "trouble": found.trouble or None,
        "rollouts": [_view(view, found.at) for view in found.views],
        "processes": found.reports,
        "behind": found.behind,
    }


def _view(view: View, now: float) -> Shape:
    return {
        "rollout": view.name,
        "killed": view.killed is not None,
        "current": release(view.entry) if view.entry else None,
        **progress(view, now),
        "last": audit(view.last) if view.last else None,
    }


def progress(view: View, now: float) -> Shape:
    """How far a rollout is and what was measured, in ``watch`` and in ``status``."""
    return {
        "ended": view.ended,
        "ramp": ramp(view.entry, now) if view.entry else None,
        "measured": measured(view, now),
        "trouble": view.trouble or None,
    }


def audit(line: Audit) -> Shape:
    """One line of history."""
    return {
        "at": line.at,
        "by": line.by,
        "action": line.action,
        "scope": line.scope,
        "old": line.old,
        "new": line.new,
        "why": line.why,
        "revision": line.revision,
        "evidence": line.evidence,
    }
