"""Starts and stops the two threads of a process, and starts them anew in a forked one."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from canary_middleware.agent.alerting import Alerts, AlertStore, Courier
from canary_middleware.agent.chores import Chores
from canary_middleware.agent.claiming import Claiming
from canary_middleware.agent.disk import Disk
from canary_middleware.agent.electing import Elected
from canary_middleware.agent.facts import gather, threads_of
from canary_middleware.agent.follower import Followed, Follower
from canary_middleware.agent.gating import Gating
from canary_middleware.agent.listener import Listener
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.measuring import Measuring
from canary_middleware.agent.troubles import Surprises
from canary_middleware.core.codec import printable
from canary_middleware.core.facts import Facts
from canary_middleware.core.records import OpenStreams, ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.engine.engine import Engine
from canary_middleware.stores.protocol import Affinity, StateStore

logger = logging.getLogger("canary_middleware")

GO_ON_AFTER: Final = 1.0
"""Seconds between a failure that nobody foresaw and the next try."""
THREADLESS: Final = "nothing confirms the control state, stable is served; set enable-threads"
LATELY: Final = 60.0
"""Seconds of which a report tells how long an event loop stood still."""
STOP_WITHIN: Final = 1.0
"""Seconds that :meth:`Agent.stop` waits for the threads, at most."""


class Agent:
    """Keeps an engine in step with a shared store.

    Args:
        engine: adopts and confirms, from the agent's threads.
        store: where the state lives; not for ``memory://``, which needs no threads.
        namespace: names the files on disk.
        poll: longest seconds between two looks at the store while all is well.
        snapshot_path: directory for the last state and the kill file, or ``None``.
        kind: of application, for reports.
        in_flight: counts the canary requests that are running.
        streams: counts the streams that are open.
        silent: names the versions that cannot be served now.
        alerts: whom to tell what happens.
        clock: monotonic seconds.
        wall: wall-clock seconds.

    Attributes:
        loops: event loops that serve requests; whoever runs in one says so.
    """

    def __init__(
        self,
        engine: Followed,
        store: StateStore,
        *,
        namespace: str,
        poll: float = 0.8,
        snapshot_path: Path | None = None,
        kind: Callable[[], str] = lambda: "python",
        in_flight: Callable[[], int] = lambda: 0,
        streams: Callable[[], tuple[OpenStreams, ...]] = tuple,
        silent: Callable[[], tuple[tuple[str, str, str], ...]] = tuple,
        alerts: Alerts | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._store = store
        self._namespace = namespace
        self._alerts = alerts or Alerts()
        self._disk = Disk(snapshot_path, namespace) if snapshot_path else None
        self._poll = poll
        self._kind = kind
        self._in_flight = in_flight
        self._streams = streams
        self._silent = silent
        self._clock = clock
        self._wall = wall
        self._lives: dict[int, _Life] = {}
        self._made_in = os.getpid()
        self.loops = Loops(clock)

    def ensure_started(self) -> None:
        """Start the threads unless this very process has them; cheap when it has."""
        pid = os.getpid()
        life = self._lives.get(pid)
        if life is None:
            # No lock that a fork could have left locked: dict.setdefault is atomic.
            life = self._lives.setdefault(pid, self._make())
        life.start()

    def wait_first_load(self, timeout: float) -> bool:
        """Wait until the first look at the store ended, well or not; ``timeout`` in seconds."""
        life = self._lives.get(os.getpid())
        return life is not None and life.chores.first_look.wait(timeout)

    def stop(self) -> None:
        """End the threads of this process; :meth:`ensure_started` starts new ones."""
        life = self._lives.pop(os.getpid(), None)
        self._lives.clear()
        if life is not None:
            life.stop()

    def _make(self) -> _Life:
        identity = secrets.token_hex(8)
        begun, forked = self._clock(), bool(self._lives.keys() - {os.getpid()})
        follower = Follower(self._engine, self._clock, self._wall)
        host = printable(socket.gethostname(), 200) or "unknown"
        name = f"agent {os.getpid()}@{host}"
        claiming, couriers = self._claiming(), self._couriers(identity)
        measuring = Measuring(
            self._store,
            lambda: self._engine.measuring,
            followed=lambda: self._engine.document,
            adopt=follower.pushed,
            owner=identity,
            name=name,
            loops=self.loops,
            count=self._count,
            clock=self._clock,
            wall=self._wall,
            gates=self._gating(),
        )
        chores = Chores(
            self._store,
            follower,
            report=lambda: replace(
                self._report(identity, host, follower.kill_file),
                facts=self._facts(chores, couriers, begun, forked=forked),
            ),
            held=lambda: self._engine.document,
            disk=self._disk,
            poll=self._poll,
            clock=self._clock,
            wall=self._wall,
            name=name,
            count=self._count,
            claiming=claiming,
            measuring=measuring,
            silent=self._silent,
            stale=self._stale,
            host=host,
        )
        if threads_of(sys.modules.get("uwsgi")) is False:
            logger.warning("uWSGI lets no threads run: %s", THREADLESS)
            chores.introduce()
        listener = Listener(
            self._store,
            follower.pushed,
            claiming.forget if claiming is not None else lambda _: None,
            chores.look,
            self._count,
            chores.online,
            chores.stopping,
        )
        return _Life(chores, listener, couriers)

    def _stale(self) -> bool:
        engine = self._engine
        # Without a running release it moves nobody, and there is nothing to tell.
        return (
            isinstance(engine, Engine)
            and engine.stale()
            and any(lane.active for lane in engine.snapshot.lanes)
        )

    def _claiming(self) -> Claiming | None:
        if not isinstance(self._store, Affinity):
            return None
        return Claiming(self._store, lambda: self._engine.claims, self._clock)

    def _gating(self) -> Gating:
        alerts = self._alerts
        return Gating(
            self._namespace, alerts.key, alerts.post, clock=self._clock, wall=self._wall
        )  # fmt: skip

    def _couriers(self, identity: str) -> tuple[Courier, ...]:
        if not isinstance(self._store, AlertStore):
            if self._alerts.hooks:
                logger.warning("alerts: this store cannot keep what was told, nobody is told")
            return ()
        elected = Elected(
            self._store, identity, self._alerts.hooks, self._clock, pace=self._alerts.pace.elected
        )
        return tuple([
            Courier(
                hook, self._alerts, self._store, namespace=self._namespace, owner=identity,
                followed=lambda: self._engine.document, count=self._count, elected=elected,
                clock=self._clock, wall=self._wall,
            )
            for hook in self._alerts.hooks
        ])  # fmt: skip

    def _count(self, event: str) -> None:
        self._engine.recorder.count(event)

    def _report(self, identity: str, host: str, kill_file: str | None) -> ProcessReport:
        document = self._engine.document
        age = self._clock() - self._engine.confirmed_at
        return ProcessReport(
            id=identity,
            host=host,
            pid=os.getpid(),
            kind=self._kind(),
            revision=document.revision if document else -1,
            staleness=max(0.0, age) if age != float("inf") else None,
            plans={rollout.name: Plan.from_rollout(rollout) for rollout in self._engine.rollouts},
            in_flight=self._in_flight(),
            kill_file=kill_file,
            streams=self._streams(),
            silent=self._silent(),
        )

    def _facts(
        self, chores: Chores, couriers: Sequence[Courier], begun: float, *, forked: bool
    ) -> Facts | None:
        if not isinstance(self._engine, Engine):
            return None
        return replace(
            gather(self._engine),
            wall=self._wall(),
            uptime=self._clock() - begun,
            preloaded=self._made_in != os.getpid(),
            forked=forked,
            turn=chores.taken(),
            stall=self.loops.stall(LATELY),
            troubles=tuple(sorted({*chores.troubles, *chain(*(one.troubles for one in couriers))})),
            poll=self._poll,
            snapshot=self._disk is not None,
        )


class _Life:
    """The threads of one process; a forked child gets its own."""

    def __init__(self, chores: Chores, listener: Listener, couriers: Sequence[Courier]) -> None:
        self.chores = chores
        self._listener = listener
        self._couriers = couriers
        self._lock = Lock()
        self._threads: tuple[Thread, ...] = ()

    def start(self) -> None:
        roles = {"chores": self.chores.run, "listener": self._listener.run}
        for number, courier in enumerate(self._couriers):
            roles[f"alerts-{number}"] = partial(courier.run, self.chores.stopping)
        if len(self._threads) == len(roles):
            return
        with self._lock:
            # One by one: where a second thread cannot start, the first one is not lost.
            for name in list(roles)[len(self._threads) :]:
                self._threads = (*self._threads, self._thread(name, roles[name]))

    def _thread(self, name: str, run: Callable[[], None]) -> Thread:
        thread = Thread(target=self._guarded, args=(run,), name=f"canary-{name}", daemon=True)
        thread.start()
        return thread

    def _guarded(self, run: Callable[[], None]) -> None:
        stopping, surprises = self.chores.stopping, Surprises(time.monotonic)
        while not stopping.is_set():
            try:
                run()
            except Exception as error:  # a listener that died of a bug would hear no kill again
                logger.debug("the agent failed", exc_info=error)
                surprises.tell("the agent failed and goes on", error)
                stopping.wait(GO_ON_AFTER)

    def stop(self) -> None:
        self.chores.stop()
        until = time.monotonic() + STOP_WITHIN
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        self.chores.end()
        for courier in self._couriers:
            courier.end()
