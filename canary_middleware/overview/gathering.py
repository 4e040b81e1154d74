"""A scene, asked from a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from canary_middleware import measures, verbs
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Phase
from canary_middleware.errors import StoreError, StoreUnavailableError
from canary_middleware.measures import Measured, MeasuredStore, Reader
from canary_middleware.overview.scene import Numbers, Scene, View
from canary_middleware.stores import StateStore
from canary_middleware.verbs import Status

_LINES: Final = 3

Read = Callable[[StateStore, str, Entry], Measured]


class Readings:
    """:func:`measures.read` for many looks: what did not change is not read again."""

    def __init__(self) -> None:
        self._readers: dict[tuple[str, str], Reader] = {}

    def __call__(self, store: StateStore, name: str, entry: Entry) -> Measured:
        """The same, and what it raises."""
        if not isinstance(store, MeasuredStore):
            raise StoreError(measures.NO_TOTALS)
        place = name, entry.release
        reader = self._readers.setdefault(place, Reader(store, *place))
        return reader.read(entry)


def gather(
    store: StateStore, namespace: str, rollout: str | None = None, read: Read = measures.read
) -> Scene:
    """Everything that is shown of a namespace, or of one rollout in it.

    Raises:
        StoreError: the store does not answer, or its state cannot be read.
    """
    found = verbs.status(store)
    names = sorted(found.known) if rollout is None else [rollout]
    return Scene(
        namespace=namespace,
        at=time.time(),
        revision=found.document.revision if found.document else None,
        views=tuple(view(store, found, name, read) for name in names),
        reports=len(found.processes),
        behind=sum(map(found.behind, found.processes)),
    )


def view(store: StateStore, found: Status, name: str, read: Read = measures.read) -> View:
    """One rollout with its numbers and the last line of its history."""
    state = next((one for one in found.rollouts if one.name == name), None)
    if state is None or state.current is None:
        return View(name, killed=found.kills.get(name))
    numbers, trouble = measured(store, name, state.current, read)
    last = _last(store, name, found.document.revision if found.document else 0)
    return View(name, state.current, state.killed, numbers, trouble, last)


def _last(store: StateStore, name: str, revision: int) -> Audit | None:
    """What made the rollout what was seen; what came since is for the next look."""
    lines = verbs.history(store, name, _LINES)
    return next((line for line in lines if line.revision <= revision), None)


def measured(
    store: StateStore, name: str, entry: Entry, read: Read = measures.read
) -> tuple[Numbers | None, str]:
    """What was counted of a release, or why that cannot be told."""
    if entry.phase is Phase.FINISHED:
        return None, ""
    try:
        found = read(store, name, entry)
    except StoreUnavailableError:
        raise
    except StoreError as error:
        return None, str(error)
    if found.age is None and not entry.plan.guards:
        return None, ""
    numbers = Numbers(found.verdict, found.ledgers.seen, found.processes, found.age)
    return numbers, _refused(found.refused)


def _refused(whys: Mapping[str, str]) -> str:
    if not whys:
        return ""
    whose = "one process" if len(whys) == 1 else f"{len(whys)} processes"
    return f"those of {whose} do not count ({next(iter(whys.values()))})"
