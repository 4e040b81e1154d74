"""The control state of one process: the same answers as a shared store, without I/O."""

from __future__ import annotations

import queue
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from threading import Lock, RLock
from typing import Final, Self

from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import Document
from canary_middleware.core.transitions import strike
from canary_middleware.stores.leaving import Leaving
from canary_middleware.stores.memory_affinity import MemoryAffinity
from canary_middleware.stores.memory_firsts import MemoryFirsts
from canary_middleware.stores.memory_series import MemoryOutbox, MemorySeries
from canary_middleware.stores.memory_totals import MemoryLease, MemoryTotals
from canary_middleware.stores.protocol import REPORT_LIFE, SILENT_LIFE, Forgotten, Key, Loaded

HISTORY: Final = 1_000
"""Lines of history kept."""


class MemoryStore(
    MemoryAffinity, MemoryLease, MemoryTotals, MemoryFirsts, MemorySeries, MemoryOutbox
):
    """A control state that ends with its process; what follows it is called at every change."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        MemoryAffinity.__init__(self, wall)
        MemoryLease.__init__(self, wall)
        MemoryTotals.__init__(self, wall)
        MemoryFirsts.__init__(self, wall)
        MemorySeries.__init__(self)
        MemoryOutbox.__init__(self)
        # Reentrant: a subscriber may ask the store what else changed.
        self._lock = RLock()
        self._document: Document | None = None
        self._audit: deque[Audit] = deque(maxlen=HISTORY)
        self._reports: dict[str, ProcessReport] = {}
        self._subscribers: list[Callable[[Document], object]] = []

    def subscribe(self, subscriber: Callable[[Document], object]) -> None:
        """Call with every new control state, in the thread that made it."""
        with self._lock:
            self._subscribers.append(subscriber)

    def load(self) -> Loaded:
        """The state as it is."""
        return Loaded(self._document)

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        """Compare-and-swap; there is no plain kill key here that could be cleared."""
        with self._lock:
            present = self._document.key if self._document else None
            if present != expected or clears is not None:
                return False
            self._write(new, audit)
            return True

    def kill(self, scope: str, *, by: str, why: str, now: float) -> Document:
        """Strike a kill."""
        with self._lock:
            before = self._document or Document(secrets.token_hex(8))
            struck = strike(before, scope, by=by, why=why, now=now)
            self._write(struck, Audit(now, by, "kill", scope, "", "killed", why, struck.revision))
            return struck

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        """Newest first."""
        with self._lock:
            return [a for a in self._audit if scope in (None, a.scope)][:limit]

    def listen(self) -> MemorySubscription:
        """Pushes to a thread that waits for them."""
        return MemorySubscription(self)

    def report(self, report: ProcessReport) -> None:
        """Remember a process."""
        with self._lock:
            self._reports[report.id] = replace(report, at=self._wall())

    def processes(self) -> list[ProcessReport]:
        """Who reported just now."""
        alive = self._wall() - REPORT_LIFE
        return [report for report in self.lately() if report.at > alive]

    def lately(self) -> list[ProcessReport]:
        """Who reported lately."""
        oldest = self._wall() - SILENT_LIFE
        with self._lock:
            self._reports = {i: r for i, r in self._reports.items() if r.at > oldest}
            return list(self._reports.values())

    def withdraw(self, process_id: str) -> None:
        """Forget a process."""
        with self._lock:
            self._reports.pop(process_id, None)

    def unsubscribe(self, subscriber: Callable[[Document], object]) -> None:
        """Call it no more."""
        with self._lock, suppress(ValueError):
            self._subscribers.remove(subscriber)

    def close(self) -> None:
        """Nothing to close."""

    def after_fork(self) -> None:
        """In a forked child, a namespace of its own: state and claims stay, evidence begins at 0.

        Threads of the parent may have held any lock, and what they counted the parent judges.
        """
        MemoryLease.__init__(self, self._wall)
        MemoryTotals.__init__(self, self._wall)
        MemoryFirsts.__init__(self, self._wall)
        MemorySeries.__init__(self)
        MemoryOutbox.__init__(self)
        self._claims_lock, self._lock = Lock(), RLock()
        self._reports = {}

    def _write(self, document: Document, audit: Audit) -> None:
        self._document = document
        self._audit.appendleft(audit)
        for subscriber in tuple(self._subscribers):
            subscriber(document)


class MemorySubscription(Leaving):
    """Pushed states and revoked claims in a queue."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._pushes: queue.SimpleQueue[Document | Forgotten] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        self._store.subscribe(self._pushes.put)
        self._store.watch(self._pushes.put)
        return self

    def _leave(self) -> None:
        self._store.unsubscribe(self._pushes.put)
        self._store.unwatch(self._pushes.put)

    def receive(self, timeout: float) -> Document | Forgotten | None:
        """The next push."""
        try:
            return self._pushes.get(timeout=timeout)
        except queue.Empty:
            return None
