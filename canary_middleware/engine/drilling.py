"""Drills: faults that are injected where a canary's answer starts, for a bounded share and time.

Every process ends a drill by itself: so many seconds after it heard of it, and never long after the
wall-clock end that the control state names, so that nobody has to live to end it. Only exposures
are hit whose arm was drawn and is compared: what is injected is what the judge sees, stable and
testers are out of reach.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.core.bucket import threshold
from canary_middleware.core.drill import DRILLED, Drill, Fault
from canary_middleware.core.model import Assignment
from canary_middleware.core.state import Entry
from canary_middleware.core.weight import format_weight

if TYPE_CHECKING:
    from canary_middleware.core.snapshot import Snapshot
    from canary_middleware.engine.engine import Engine
    from canary_middleware.engine.visit import Visit

logger = logging.getLogger("canary_middleware")

TOLERANCE: Final = 10.0
"""Seconds by which the wall clocks of a process and of who began a drill may differ."""
LOOK: Final = 0.1
"""Seconds after which an answer that waits looks whether the drill is still on."""
BEYOND: Final = 1.0
"""Seconds after the time-out at which an answer that hangs is given up."""
UNAVAILABLE: Final = "503 Service Unavailable"
BODY: Final = b"Service Unavailable\n"
_HEAD: Final = (("Content-Type", "text/plain"), ("Content-Length", str(len(BODY))))

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class DrillError(Exception):
    """What a canary raises in a drill of exceptions."""


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A drill as this process heard of it.

    Attributes:
        drill: see there.
        run: of the release.
        release: its canary label.
        until: monotonic seconds after which it is over here.
    """

    drill: Drill
    run: int
    release: str
    until: float


class Drills:
    """The drills that this process has heard of and that were not ended yet.

    Args:
        engine: whose answers are hit.
        heard: by rollout; kept while a kill suspends them, so that no drill begins again.
        live: those of them that no kill suspends.
    """

    def __init__(
        self, engine: Engine, heard: Mapping[str, Heard], live: Mapping[str, Heard]
    ) -> None:
        self._engine = engine
        self.heard = heard
        self._live = live

    @classmethod
    def of(cls, engine: Engine, snapshot: Snapshot, before: Drills | None) -> Drills | None:
        """Those of a snapshot; ``None`` without any, so that requests have nothing to look at."""
        heard, live = {}, {}
        for lane in snapshot.lanes:
            entry = lane.entry
            if entry is None or entry.drill is None or not lane.active:
                continue
            known = before.heard.get(lane.name) if before is not None else None
            if known is None or (known.drill, known.run) != (entry.drill, entry.run):
                known = _hear(engine, lane.name, entry, entry.drill)
            heard[lane.name] = known
            if lane.gate is None:
                live[lane.name] = known
        return cls(engine, heard, live) if heard else None

    def strike(self, visit: Visit) -> Blow | None:
        """What is done to an answer that is about to start; decided once per request."""
        if not visit.canary or visit.started or hasattr(visit, "struck"):
            return None
        visit.struck = None
        for one in [*visit.exposed.values()]:
            heard = self._live.get(one.rollout)
            if heard is not None and self._hits(one, heard):
                visit.struck = blow = Blow(self._engine, visit, one, heard)
                _tell(self._engine, visit, one, heard.drill.fault)
                return blow
        return None

    def _hits(self, one: Assignment, heard: Heard) -> bool:
        # Without a gauge nobody compares it: testers, overrides, everybody at 100 %.
        if not one.is_canary or one.gauge is None or one.release != heard.release:
            return False
        if self.over(one.rollout, heard):
            return False
        return self._engine.chance() < threshold(heard.drill.share)

    def over(self, rollout: str, heard: Heard) -> bool:
        """Whether a drill has ended, here or everywhere, or is suspended."""
        if self._live.get(rollout) is not heard or self._engine.clock() >= heard.until:
            return True
        return self._engine.settings.wall() >= heard.drill.until + TOLERANCE


def _hear(engine: Engine, rollout: str, entry: Entry, drill: Drill) -> Heard:
    # A process that starts late has the rest; one whose clock is slow has no more than the whole.
    left = min(drill.seconds, drill.until + TOLERANCE - engine.settings.wall())
    logger.warning(
        "drill: %s in %s of the canary requests of %s %s, for %d s at most (begun by %s)",
        drill.fault, format_weight(drill.share), rollout, entry.release, max(0, left), drill.by,
    )  # fmt: skip
    return Heard(drill, entry.run, entry.release, engine.clock() + left)


def _tell(engine: Engine, visit: Visit, one: Assignment, fault: Fault) -> None:
    """Count the request and its visitor apart from all that is evidence, and mark its spans."""
    engine.recorder.count("drilled")
    engine.recorder.observe(one, DRILLED, 1, 0)
    visit.drilled(one)
    if engine.observer is not None:
        engine.observer.drilled(visit, fault.value)


class Blow:
    """What a drill does to one answer.

    Attributes:
        fault: which.
        replaces: whether the canary's own answer is thrown away.
    """

    __slots__ = ("_drill", "_engine", "_heard", "_rollout", "_until", "_visit", "fault", "replaces")

    def __init__(self, engine: Engine, visit: Visit, one: Assignment, heard: Heard) -> None:
        self.fault = heard.drill.fault
        self.replaces = self.fault in (Fault.ERROR, Fault.HANG)
        self._engine = engine
        self._visit = visit
        self._rollout = one.rollout
        self._heard = heard
        self._drill = heard.drill
        self._until = self._ends(one)

    def _ends(self, one: Assignment) -> float:
        if self.fault is Fault.LATENCY:
            return self._engine.clock() + self._drill.delay
        return self._visit.begun + one.gauge.timeout + BEYOND if self.fault is Fault.HANG else -inf

    def left(self) -> float:
        """Seconds to wait before asking again; 0 when the wait is over, or the drill."""
        drills = self._engine.drills
        if drills is None or drills.over(self._rollout, self._heard):
            return 0.0
        return max(0.0, min(LOOK, self._until - self._engine.clock()))

    def act(self) -> None:
        """What happens at the start of the answer.

        Raises:
            DrillError: that is the fault.
        """
        if self.fault is Fault.EXCEPTION:
            raise DrillError("raised by `canary drill`")
        if self.fault is Fault.EVENTS:
            self._visit.observe(self._drill.of, self._drill.value)


def body_of(visit: Visit) -> bytes:
    """The body of an answer that was replaced."""
    return b"" if visit.view.method == "HEAD" else BODY


# --- WSGI --------------------------------------------------------------------------------------


def pause(blow: Blow) -> None:
    """Wait in this thread, and do what there is to do before the answer starts."""
    while left := blow.left():
        time.sleep(left)
    blow.act()


def wsgi_head() -> list[tuple[str, str]]:
    """Headers of an answer that was replaced."""
    return [*_HEAD]


# --- ASGI --------------------------------------------------------------------------------------


async def answer_asgi(
    blow: Blow, visit: Visit, send: Send, receive: Receive, message: Message
) -> None:
    """As :func:`pause`, without blocking the loop; then the start, or a whole answer instead."""
    await _wait(blow, receive)
    blow.act()
    if not blow.replaces:
        await send(message)
        return
    head = [(name.lower().encode(), value.encode()) for name, value in _HEAD]
    await send({"type": "http.response.start", "status": int(UNAVAILABLE[:3]), "headers": head})
    await send({"type": "http.response.body", "body": body_of(visit)})


async def unheard(message: Message) -> None:
    """``send`` of a canary whose answer was replaced."""


async def _wait(blow: Blow, receive: Receive) -> None:
    """Until it is over; who hangs gives up when the client is gone."""
    import asyncio  # a WSGI process has no use for it

    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    if blow.fault is Fault.HANG:
        gone = asyncio.ensure_future(_gone(receive))
    try:
        while not gone.done() and (left := blow.left()):
            await asyncio.wait((gone,), timeout=left)
    finally:
        gone.cancel()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
