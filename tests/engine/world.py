"""An engine with a clock to turn, and requests to it without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from canary_middleware.core.cookie import CookieFormat, Secure, find
from canary_middleware.core.model import Assignment, Cohort, Rollout, Visitor
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.routing import Drawn, Place, route
from canary_middleware.core.snapshot import Describe
from canary_middleware.core.state import Document, Phase, RolloutState
from canary_middleware.core.weight import FULL
from canary_middleware.engine.engine import Engine, Settings
from canary_middleware.engine.recorder import Series
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from tests.core.control import CHECKOUT, SECRET, document, entry

SEARCH = Rollout("search", "1", "2")
BOTH = (CHECKOUT, SEARCH)
OLD, NEW = b"1" * 32, b"2" * 32
NAVIGATION = {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
IMAGE = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}


@dataclass
class Time:
    """Both clocks of a process, in seconds."""

    monotonic: float = 1_000.0
    wall: float = 1_800_000_000.0


class Numbers:
    """Random bytes that count up, so that every id is another one."""

    def __init__(self) -> None:
        self.drawn = 0

    def __call__(self, size: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(size, "big")


@dataclass
class World:
    """One process."""

    engine: Engine
    time: Time
    numbers: Numbers

    def visit(self, path: str = "/", method: str = "GET", **headers: str) -> Visit:
        """A request that arrives; header names with underscores for dashes."""
        match = self.engine.snapshot.match(path, method)
        assert match is not None
        return Visit(self.engine, match, view(path, method, **headers))

    def events(self) -> dict[str, int]:
        """What was counted."""
        return dict(self.engine.recorder.events)


def world(
    *rollouts: Rollout,
    keys: tuple[bytes, ...] = (NEW,),
    secure: Secure = True,
    time: Time | None = None,
    **settings: Any,
) -> World:
    """A process with these rollouts, ``checkout`` by default."""
    time = time or Time()
    numbers = Numbers()
    made = Settings(
        namespace="shop",
        keys=keys,
        bucket_secret=SECRET,
        cookie=CookieFormat("shop", secure),
        clock=lambda: time.monotonic,
        wall=lambda: time.wall,
        random=numbers,
        **settings,
    )
    return World(Engine(rollouts or (CHECKOUT,), made), time, numbers)


def view(path: str = "/", method: str = "GET", **headers: str) -> AsgiView:
    """An ASGI request."""
    lines = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    return AsgiView({"type": "http", "method": method, "path": path, "headers": lines})


def pair(line: str | None) -> str:
    """What a browser sends back for a Set-Cookie line."""
    assert line is not None
    return line.partition(";")[0]


def value(line: str | None) -> bytes:
    """The token in a Set-Cookie line."""
    token = find(pair(line).encode(), b"__Host-canary-shop=")
    assert token is not None
    return token


@dataclass
class Hook:
    """A callable that counts its calls and answers or raises what it is told."""

    answer: Any = None
    calls: int = 0
    before: Callable[[], object] = field(default=lambda: None)

    def __call__(self, *_: Any) -> Any:
        self.calls += 1
        self.before()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def at(weight: int, phase: Phase = Phase.PAUSED) -> Document:
    """Both rollouts at a weight."""
    state = RolloutState("2", {"2": entry(phase, weight)})
    return replace(document(), rollouts={"checkout": state, "search": state})


HALF, ALL, NONE = at(FULL // 2), at(FULL), at(0)


def under(found: Document | None, *rollouts: Rollout, **settings: Any) -> World:
    """A process that adopted a document."""
    made = world(*rollouts, **settings)
    made.engine.adopt(found)
    return made


def cookie_for(made: World, *, canary: bool) -> str:
    """A Cookie header of an anonymous visitor who is drawn to that side of checkout at 50 %."""
    lane = made.engine.snapshot.by_name["checkout"]
    while True:
        known = made.engine.visitors.draw()
        if route(lane, None, Place(known.drawn)).is_canary is canary:
            return pair(made.engine.visitors.line(known.cookie))


def subject_for(made: World, *, canary: bool) -> str:
    """A subject who is drawn to that side of checkout at 50 %."""
    lane = made.engine.snapshot.by_name["checkout"]
    subjects = (f"user-{number}" for number in range(1000))
    return next(
        subject
        for subject in subjects
        if route(lane, None, Place(Drawn.identified(Visitor(subject)))).is_canary is canary
    )


def counts(made: World, cohort: Cohort, rollout: str = "checkout") -> dict[str, int]:
    """Outcomes booked on one version, by class."""
    label = "2" if cohort is Cohort.CANARY else "1"
    cell = made.engine.recorder.cells().get(Series(rollout, "2", cohort, label))
    return (
        {kind.label: cell.counts[kind] for kind in OutcomeClass if cell.counts[kind]}
        if cell
        else {}
    )


class Witness:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any]] = []

    @property
    def describe(self) -> Describe:
        return lambda assignment: {"version": assignment.version}

    def watch(self, engine: Engine) -> None:
        self.seen.append(("watch", engine))

    def entered(self, visit: Visit) -> None:
        self.seen.append(("entered", visit.view.path))

    def exposed(self, visit: Visit, assignment: Assignment) -> None:
        self.seen.append(("exposed", visit.exposed[assignment.rollout].rollout))

    def repeated(self, visit: Visit, given: Mapping[str, Assignment]) -> None:
        reasons = {name: found.reason for name, found in given.items()}
        self.seen.append(("repeated again" if visit.exposed else "repeated", reasons))

    def drilled(self, visit: Visit, fault: str) -> None:
        self.seen.append(("drilled", (visit.view.path, fault)))

    def finished(
        self, visit: Visit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        names = [assignment.rollout for assignment in booked]
        self.seen.append(("finished" if visit.finished else "early", (names, kind, seconds)))
