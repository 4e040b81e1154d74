"""What should be known before a verb is meant; every surface asks in its own way whether it is."""

from __future__ import annotations

import time
from collections.abc import Collection

from canary_middleware import verbs
from canary_middleware.core.declared import FIRST_REPORT
from canary_middleware.core.state import ACTIVE, Document, Entry
from canary_middleware.errors import UnknownRolloutError
from canary_middleware.overview.gathering import measured
from canary_middleware.overview.scene import View
from canary_middleware.stores import StateStore


def silent_stable(store: StateStore, rollout: str, release: str | None, weight: int) -> str:
    """That people would be sent back to a server that is not there, in words; ``""`` if not.

    Args:
        store: where the state lives.
        rollout: its name.
        release: canary label; ``None`` means the current one.
        weight: that it shall have, in 0.001 %.
    """
    found = verbs.status(store)
    entry = _entry(found.document, rollout, release)
    if entry is None or weight >= entry.weight:
        return ""
    silence = found.silence(rollout, entry.stable)
    return silence and f"{rollout}: stable {silence}"


def early_promotion(store: StateStore, rollout: str, release: str | None) -> str:
    """That the evidence does not speak for a promotion yet; ``""`` if nothing is measured."""
    entry = _entry(store.load().document, rollout, release)
    if entry is None or entry.phase not in ACTIVE or not entry.plan.guards:
        return ""
    numbers, trouble = measured(store, rollout, entry)
    told = View(rollout, entry, numbers=numbers).told(time.time())
    fit = told.fit if told else not trouble
    standing = told.standing() if told else trouble
    return "" if fit else f"{rollout}: the evidence does not speak for it yet: {standing}"


def unknown_rollout(
    rollout: str, namespace: str, known: Collection[str], nothing: str
) -> UnknownRolloutError:
    """The error of a rollout that neither the state nor any process knows.

    Args:
        rollout: its name.
        namespace: where it was looked for.
        known: what there is.
        nothing: the hint where there is nothing.
    """
    some = f"known are: {', '.join(sorted(known))}; a new one needs a process that declares it"
    message = f"{rollout}: namespace {namespace} knows no such rollout"
    hint = some if known else f"{nothing}; {FIRST_REPORT}"
    return UnknownRolloutError(message, rollout=rollout, hint=hint)


def _entry(document: Document | None, rollout: str, release: str | None) -> Entry | None:
    state = document.rollouts.get(rollout) if document else None
    return state.entries.get(release or state.current or "") if state else None
