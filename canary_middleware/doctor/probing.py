"""Looks at everything that a diagnosis needs; gives up in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from canary_middleware import verbs
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Phase
from canary_middleware.doctor import probing_sqlite
from canary_middleware.doctor.examined import Examined, Probed
from canary_middleware.errors import MissingExtraError, StoreCorruptError, StoreError
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import Remembering
from canary_middleware.verbs import Status

TRIPS: Final = 5
"""Round trips of which the median is told."""
TIMED: Final = 0.5
"""Seconds after which fewer will do."""
BUDGET: Final = 4.0
"""Seconds in which a question to the store may begin; the last one may take its patience more."""


def examine(
    store: StateStore,
    namespace: str,
    *,
    file: Path | None = None,
    patience: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> Examined:
    """One look at a namespace; a store that does not answer is part of what is seen.

    Args:
        store: where it lives.
        namespace: its name.
        file: that the store is in, if it is one.
        patience: seconds for one answer.
        clock: monotonic seconds.
        wall: wall-clock seconds of this machine.
    """
    until = clock() + BUDGET
    missing = str(file) if file is not None and not file.exists() else ""
    try:
        trips = _trips(store, clock)
        status, error = _status(store)
        lines = verbs.history(store, None, 1) if clock() < until else []
        lately = _lately(store, status) if clock() < until else ()
        probed = _probed(store, namespace, file, patience, trips, lambda: clock() < until)
    except StoreError as failed:
        return Examined(namespace, wall(), error=str(failed), missing=missing)
    return Examined(
        namespace,
        wall() + (probed.ahead or 0.0),
        status=status,
        changed=lines[0].at if lines else 0.0,
        error=error,
        corrupt=bool(error),
        missing=missing,
        lately=tuple(lately),
        probed=probed,
    )


def _trips(store: StateStore, clock: Callable[[], float]) -> tuple[float, ...]:
    trips: list[float] = []
    store.load()  # the first one connects
    while len(trips) < TRIPS and sum(trips) < TIMED:
        began = clock()
        store.load()
        trips.append(clock() - began)
    return tuple(trips)


def _status(store: StateStore) -> tuple[Status | None, str]:
    try:
        return verbs.status(store), ""
    except StoreCorruptError as error:
        return None, str(error)


def _lately(store: StateStore, status: Status | None) -> Sequence[ProcessReport]:
    if isinstance(store, Remembering):
        return store.lately()
    return status.processes if status else ()


def _probed(
    store: StateStore,
    namespace: str,
    file: Path | None,
    patience: float,
    trips: tuple[float, ...],
    in_time: Callable[[], bool],
) -> Probed:
    if file is not None:
        return Probed(trips, file=probing_sqlite.look(file))
    with suppress(MissingExtraError):  # without redis-py there is no such store either
        from canary_middleware.doctor import probing_redis
        from canary_middleware.stores.redis import RedisStore

        if isinstance(store, RedisStore):
            told = probing_redis.ask(store, namespace, patience, in_time)
            warnings = store.warnings() if in_time() else ()
            return Probed(
                trips, tuple(told.refused), told.facts, told.saves, warnings, told.ahead,
                tuple(told.unseen),
            )  # fmt: skip
    return Probed(trips)


def forgotten(status: Status | None) -> tuple[str, ...]:
    """Rollouts whose places in the code are worth a search: those that are over, or stand still."""
    over = {Phase.PROMOTED, Phase.FINISHED, Phase.ROLLED_BACK}
    still = {Phase.PAUSED, Phase.HOLDING, Phase.AWAITING_APPROVAL}
    found = status.rollouts if status else ()
    return tuple(
        one.name for one in found if any(entry.phase in over | still for entry in one.entries)
    )
