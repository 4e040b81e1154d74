"""What each interface leaves in the ledgers: one table, and every interface counts alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from canary_middleware import Cohort, Guard, Rescue, current, observe
from canary_middleware.core.totals import Ledgers
from canary_middleware.stores.protocol import First
from tests.engine.measured import settle
from tests.scenarios.apps import BoomError
from tests.scenarios.site import Interface, Site
from tests.scenarios.words import Ask, Handler, Handling, Start

GUARDS = (
    Guard.errors(),
    Guard.client_errors(),
    Guard.throughput(),
    Guard.rate("orders"),
    Guard.never("charges"),
)
NO_RESCUE = Rescue(enabled=False)
CANARY, STABLE = Ask(who=Cohort.CANARY), Ask(who=Cohort.STABLE)
LATER = 10.0**9


@dataclass(frozen=True)
class Told:
    """What the ledgers of a run must say.

    Attributes:
        entries: by cohort, visitors, failures and client errors.
        firsts: cohort and kind of first events.
        hits: by cohort and metric, matured visitors that count for it.
        observed: by cohort and guard, requests and bad ones among them.
    """

    entries: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    firsts: Sequence[str] = ()
    hits: dict[str, int] = field(default_factory=dict)
    observed: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """One scenario."""

    name: str
    app: Handler
    asks: Sequence[Ask]
    told: Told
    rescue: Rescue = NO_RESCUE
    policy: str = "follow"


def answering(status: int = 200, **observed: float) -> Handler:
    """Reads the version, observes and answers."""

    def app(site: Site) -> Handling:
        current("checkout")
        for metric, value in observed.items():
            observe(metric, value)
        yield Start(status)
        yield b"x"

    return app


def raising(site: Site) -> Handling:
    """Reads the version and raises."""
    if current("checkout").rollout:
        raise BoomError
    yield Start()


def breaking(site: Site) -> Handling:
    """Raises in the middle of its answer."""
    current("checkout")
    yield Start()
    yield b"x"
    raise BoomError


def failing_canary(site: Site) -> Handling:
    """Only the canary fails, and only after it has charged."""
    if current("checkout").is_canary:
        observe("charges", 2)
        yield Start(500)
    else:
        observe("charges")
        yield Start()
    yield b"x"


def unasked(site: Site) -> Handling:
    """Nobody asks for a version."""
    observe("orders")
    yield Start(500)
    yield b"x"


def late(site: Site) -> Handling:
    """Asks and observes when the answer is under way."""
    yield Start()
    yield b"x"
    current("checkout")
    observe("charges", 2)
    yield b"y"


ROWS = [
    Row(
        "good",
        answering(),
        [CANARY, STABLE],
        Told({"canary": (1, 0, 0), "stable": (1, 0, 0)}),
    ),
    Row(
        "5xx",
        answering(503),
        [CANARY],
        Told({"canary": (1, 1, 0)}, ("canary failures",), {"canary errors": 1}),
    ),
    Row(
        "4xx: made by the client, no failure", answering(404), [CANARY], Told({"canary": (1, 0, 1)})
    ),
    Row(
        "an exception before the start",
        raising,
        [CANARY],
        Told({"canary": (1, 1, 0)}, ("canary failures",), {"canary errors": 1}),
    ),
    Row(
        "an exception in the middle",
        breaking,
        [STABLE],
        Told({"stable": (1, 1, 0)}, ("stable failures",), {"stable errors": 1}),
    ),
    Row(
        "rescued: the canary failed, stable is not asked, what the first run observed is dropped",
        failing_canary,
        [CANARY],
        Told({"canary": (1, 1, 0)}, ("canary failures",), {"canary errors": 1}),
        rescue=Rescue(),
    ),
    Row(
        "charged twice with a clean 200",
        answering(charges=2),
        [CANARY],
        Told(
            {"canary": (1, 0, 0)},
            ("canary charges",),
            {"canary charges": 1},
            {"canary charges": [1, 1]},
        ),
    ),
    Row(
        "an order",
        answering(orders=1, charges=1),
        [STABLE],
        Told(
            {"stable": (1, 0, 0)},
            (),
            {"stable orders": 1},
            {"stable charges": [1, 0], "stable orders": [1, 0]},
        ),
    ),
    Row("nobody asked for the version", unasked, [CANARY], Told()),
    Row(
        "asked too late for the cookie: no entry, but what is bad counts",
        late,
        [CANARY],
        Told({}, ("canary charges",), {}, {"canary charges": [1, 1]}),
    ),
    Row(
        "per request",
        answering(500),
        [Ask(method="POST"), Ask(method="POST")],
        Told({"both": (2, 2, 0)}),
        policy="request",
    ),
]
each = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def played(row: Row, interface: Interface, wrap: Any = None) -> tuple[Ledgers, list[First]]:
    rollout = {"guards": GUARDS, "rescue": row.rescue, "policy": row.policy}
    with Site(interface, row.app, weight="50%", rollout=rollout) as site:
        # Nothing else books: the threads of this process are not what is looked at.
        site.canary.awake, site.canary.agent = True, None
        for ask in row.asks:
            site.ask(ask)
        measuring = site.engine.measuring
        measuring.book(LATER)
        settle(measuring)
        firsts = [first for *_, batch in measuring.take_firsts() for first in batch]
        return measuring.ledgers()["checkout", "2"], firsts


def told(row: Row, ledgers: Ledgers, firsts: list[First]) -> Told:
    entries: dict[str, tuple[int, int, int]] = {}
    for arm, one in ledgers.entries.items():
        side = arm.cohort.value if row.policy == "follow" else "both"
        n, failures, client_errors = entries.get(side, (0, 0, 0))
        entries[side] = n + one.n, failures + one.failures, client_errors + one.client_errors
    hits = {
        f"{slot.cohort.value} {name}": sum(counts)
        for slot, matured in ledgers.slots.items()
        for name, counts in matured.hits.items()
    }
    observed = {
        f"{cohort.value} {name}": counts
        for cohort, seen in ledgers.seen.items()
        for name, counts in seen.observed.items()
    }
    kinds = tuple(f"{one.cohort.value} {one.kind}" for one in firsts)
    return Told(entries, kinds, hits, observed)


@each
@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_outcome(row: Row, interface: Interface) -> None:
    assert told(row, *played(row, interface)) == row.told
