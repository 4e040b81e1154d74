"""The chores: look at the store, restore what it lost, report, keep the snapshot on disk."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Callable, Iterable
from threading import Event
from typing import Final

from canary_middleware.agent.claiming import Claiming
from canary_middleware.agent.deadman import DeadMan
from canary_middleware.agent.disk import Disk
from canary_middleware.agent.filing import Filing
from canary_middleware.agent.follower import Follower, Restore
from canary_middleware.agent.measuring import Measuring
from canary_middleware.agent.oddities import Oddities
from canary_middleware.agent.troubles import BACK_OFF, Attempts, Troubles
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.errors import StoreError
from canary_middleware.stores.advice import warnings_of
from canary_middleware.stores.protocol import StateStore

logger = logging.getLogger("canary_middleware")

SPACING: Final = 0.05
"""Least seconds between two looks, however often somebody asks for one."""
REPORT_EVERY: Final = 5.0
"""Seconds between two reports of this process."""
RACES: Final = 3
"""How often a lost restore is tried again before the next look."""


class Chores:
    """Body of the chores thread.

    Args:
        store: the shared state.
        follower: this process's view of it.
        report: makes the present report of this process.
        held: the document that is followed now.
        disk: snapshot on disk, or ``None``.
        poll: longest seconds between two looks while all is well.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        name: of this process, for the audit trail.
        count: counts a rare event; see docs/telemetry.md.
        claiming: tells the store of claims, or ``None`` for a store without them.
        measuring: ships what was counted, judges and acts, or ``None``.
        silent: names the versions that cannot be served now; see ``ProcessReport.silent``.
        stale: whether the last confirmation of the state is too old.
        host: where this process runs, for the audit trail.
    """

    def __init__(
        self,
        store: StateStore,
        follower: Follower,
        *,
        report: Callable[[], ProcessReport],
        held: Callable[[], Document | None],
        disk: Disk | None,
        poll: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
        name: str,
        count: Callable[[str], None],
        claiming: Claiming | None = None,
        measuring: Measuring | None = None,
        silent: Callable[[], Iterable[tuple[str, str, str]]] = tuple,
        stale: Callable[[], bool] = lambda: False,
        host: str = "this host",
    ) -> None:
        self._claiming = claiming
        self._silent = silent
        self._measuring = measuring
        self._store = store
        self._follower = follower
        self._report = report
        self._held = held
        self._disk = disk
        self._poll = poll
        self._clock = clock
        self._wall = wall
        self._name = name
        self._count = count
        self._troubles = Troubles()
        self._oddities = Oddities()
        self._dead_man = DeadMan(stale)
        self._filing = disk and Filing(
            store, host=host, file=disk.kill_file, name=name, wall=wall, followed=held,
            attempts=Attempts("history", self._troubles, count, clock),
        )  # fmt: skip
        self._reported_at: float | None = None
        self._reported: tuple[Document | None, frozenset[tuple[str, str]]] = None, frozenset()
        self._on_disk: Document | None = None
        self._warned = False
        self._asked = Event()
        self._longest = 0.0
        self.online = Event()
        self._ended = Event()
        self.stopping = Event()
        self.first_look = Event()

    def look(self) -> None:
        """Ask for a turn soon: there is something new, or something in doubt."""
        self._asked.set()

    def stop(self) -> None:
        """Ask the thread to end."""
        self.stopping.set()
        self._asked.set()

    def end(self) -> None:
        """The store is closed now: a turn that is still under way asks it nothing more."""
        self._ended.set()

    def run(self) -> None:
        """Until it shall stop."""
        self.read_disk()
        while not self.stopping.is_set():
            self.turn()
            self._rest()
        self._withdraw()

    def turn(self) -> None:
        """One round of everything that is due."""
        began = self._clock()
        for chore in (
            self._check_kill_file,
            # What a push brought comes first: the store may take its time, or have lost it.
            self._write_disk,
            self._look_at_store,
            self._file,
            self._dead_man.look,
            self._write_disk,
            self._tell,
            self._warn,
            self._claim,
            self._measure,
        ):
            if self._ended.is_set():
                return
            chore()
        self._longest = max(self._longest, self._clock() - began)

    def taken(self) -> float:
        """Seconds of the longest turn since this was last asked."""
        longest, self._longest = self._longest, 0.0
        return longest

    @property
    def troubles(self) -> tuple[str, ...]:
        """What fails now."""
        measuring = () if self._measuring is None else self._measuring.troubles
        return tuple(sorted({*self._troubles.present, *measuring}))

    def introduce(self) -> None:
        """Report at once, in the thread of whoever asks: no other one may ever have a turn."""
        try:
            self._store.report(self._report())
        except Exception as error:  # of anybody's own store; it is the first request that waits
            logger.debug("not introduced: %s", error, exc_info=error)

    def read_disk(self) -> None:
        """Begin with what an earlier process left behind."""
        if self._disk is None:
            return
        try:
            self._on_disk = self._disk.read()
        except (OSError, StoreError) as error:
            self._troubles.begin("snapshot", error)
        self._follower.from_disk(self._on_disk)

    # --- private --------------------------------------------------------------------------------

    def _rest(self) -> None:
        if not self.online.is_set():
            self._back_off()
            return
        until = self._clock() + self._poll * random.uniform(0.75, 1.0)
        self.stopping.wait(SPACING)
        while not self._asked.wait(max(0.0, min(until - self._clock(), self._tick))):
            if self._clock() >= until:
                break
            self._measure()
        self._asked.clear()

    @property
    def _tick(self) -> float:
        return math.inf if self._measuring is None else self._measuring.tick

    def _measure(self) -> None:
        if self._measuring is not None:
            self._measuring.turn(online=self.online.is_set())

    def _back_off(self) -> None:
        # Spread, so that the processes of a site do not come back in step.
        until = self._clock() + BACK_OFF * random.uniform(1.0, 1.7)
        while self._asked.wait(max(0.0, until - self._clock())) and not self.stopping.is_set():
            # No reason to knock more often, but a kill that was pushed belongs on the disk.
            self._asked.clear()
            self._write_disk()

    def _look_at_store(self) -> None:
        try:
            for _ in range(RACES):
                restore = self._look_once()
                if restore is None or self._restored(restore):
                    return
        except StoreError as error:
            self.online.clear()
            self._count("store_error")
            self._troubles.begin("store", error)

    def _look_once(self) -> Restore | None:
        asked_at = self._clock()
        try:
            loaded = self._store.load()
            restore = self._follower.loaded(loaded, asked_at)
        finally:
            self.first_look.set()
        self.online.set()
        self._troubles.end("store")
        if loaded.corrupt is not None:
            self._count("state_corrupt")
            self._troubles.begin("state", loaded.corrupt)
        else:
            self._troubles.end("state")
        return restore

    def _restored(self, restore: Restore) -> bool:
        try:
            written = self._store.swap(restore.expected, restore.document, self._audit(restore))
        except StoreError as error:
            # It answers, so what is followed stays confirmed; the next look tries again.
            self._count("store_error")
            self._troubles.begin("writing", error)
            return True
        self._troubles.end("writing")
        if written:
            self._count("restore")
        return written

    def _audit(self, restore: Restore) -> Audit:
        revision, kill = restore.document.revision, restore.kill
        if kill is not None:
            return Audit(kill.at, kill.by, "kill", EVERYTHING, "", "killed", kill.why, revision)
        return Audit(
            at=self._wall(),
            by=self._name,
            action="restore",
            scope=EVERYTHING,
            old=f"revision {restore.expected[1]}" if restore.expected else "empty",
            new=f"revision {revision}",
            why=restore.why,
            revision=revision,
        )

    def _tell(self) -> None:
        now, held = self._clock(), self._held()
        silent = frozenset((rollout, version) for rollout, version, _ in self._silent())
        due = self._reported_at is None or now - self._reported_at >= REPORT_EVERY
        # Whoever made a change wants to see who follows it, and no move to a version that is gone.
        news = held is not self._reported[0] or silent != self._reported[1]
        if not (due or news) or not self.online.is_set():
            return
        self._reported_at, self._reported = now, (held, silent)
        report = self._report()
        self._oddities.look(report.plans, held)
        try:
            self._store.report(report)
        except StoreError as error:
            self._count("store_error")
            self._troubles.begin("reports", error)
        else:
            self._troubles.end("reports")

    def _claim(self) -> None:
        if self._claiming is None or not self.online.is_set():
            return
        try:
            self._claiming.tell()
        except StoreError as error:
            self._count("store_error")
            self._troubles.begin("claims", error)
        else:
            self._troubles.end("claims")

    def _warn(self) -> None:
        if self._warned or not self.online.is_set():
            return
        try:
            warnings = warnings_of(self._store)
        except StoreError as error:
            logger.debug("not asked how the store is set up: %s", error)
            return
        self._warned = True
        for warning in warnings:
            logger.warning("store: %s", warning)

    def _withdraw(self) -> None:
        if self._ended.is_set():
            return
        if self._measuring is not None:
            self._measuring.leave(online=self.online.is_set())
        if not self.online.is_set():
            return
        try:
            self._store.withdraw(self._report().id)
        except StoreError as error:
            logger.debug("not withdrawn: %s", error)

    def _check_kill_file(self) -> None:
        if self._disk is None:
            return
        reason = self._disk.kill_reason()
        if self._follower.set_local_kill(reason):
            logger.warning("kill file: %s", "gone" if reason is None else f"found: {reason!r}")

    def _file(self) -> None:
        if self._filing and self.online.is_set():
            self._filing.turn(self._follower.kill_file)

    def _write_disk(self) -> None:
        held = self._held()
        if self._disk is None or held is None or held == self._on_disk:
            return
        try:
            self._disk.write(held)
        except (OSError, StoreError) as error:
            self._troubles.begin("snapshot", error)
        else:
            self._on_disk = held
            self._troubles.end("snapshot")
