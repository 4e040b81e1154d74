"""Drills: what is injected into whom, for how long, and what is counted of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import flask
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from canary_middleware import Audience, Cohort, Guard, Rescue, Visitor, asgi, current, observe, wsgi
from canary_middleware.core.drill import DRILLED, Drill, Fault
from canary_middleware.core.outcomes import STARTS
from canary_middleware.core.state import Verb
from canary_middleware.core.totals import bucket_of
from canary_middleware.core.weight import parse_weight
from canary_middleware.engine.drilling import BEYOND, BODY, TOLERANCE, Blow, DrillError, Drills
from canary_middleware.engine.visit import Visit
from canary_middleware.telemetry import Telemetry
from tests.core.control import CHECKOUT
from tests.engine.measured import QUICK, booked, document, measured
from tests.engine.world import Witness, cookie_for, world
from tests.scenarios import asgi_driver, virtual_time, wsgi_driver
from tests.scenarios.apps import late, version
from tests.scenarios.site import Interface, Site
from tests.scenarios.words import Ask, Handler, Handling, Start

CANARY, STABLE = Ask(who=Cohort.CANARY), Ask(who=Cohort.STABLE)
MINUTE = 60
WAITING = 4.0
"""Seconds that a look at the clock takes while an answer waits."""


class Clock:
    """Monotonic seconds; each look takes ``step``."""

    def __init__(self) -> None:
        self.at, self.step = 1_000.0, 0.0

    def __call__(self) -> float:
        self.at += self.step
        return self.at


class Rehearsal(Site):
    """The usual shop at 50 %, measured, whose stable never stands in for a canary."""

    def __init__(self, interface: Interface, app: Handler = version, **how: Any) -> None:
        self.clock = Clock()
        rollout = {
            "guards": (*Guard.defaults(), Guard.never("charges")),
            "rescue": Rescue(enabled=False),
            **how.pop("rollout", {}),
        }
        canary = {"clock": self.clock, **how.pop("canary", {})}
        super().__init__(interface, app, rollout=rollout, canary=canary, **how)
        self.canary.awake = True  # no agent: nobody else turns these clocks

    def drill(self, fault: Fault, share: str = "100%", **more: Any) -> Drill:
        """Begin one, for a minute."""
        drill = Drill(fault, parse_weight(share), self.time, MINUTE, by="test", **more)
        self.verb(Verb.DRILL, drill=drill)
        return drill

    def hits(self) -> int:
        return self.events().get("drilled", 0)


@contextmanager
def rehearsal(interface: Interface, app: Handler = version, **how: Any) -> Iterator[Rehearsal]:
    with Rehearsal(interface, app, **{"weight": "50%", **how}) as site:
        yield site


every_interface = pytest.mark.parametrize("interface", Interface, ids=lambda one: one.value)


# --- what is injected -----------------------------------------------------------------------------


@every_interface
def test_an_error_takes_the_place_of_the_canarys_answer(interface: Interface) -> None:
    with rehearsal(interface) as site:
        site.drill(Fault.ERROR)
        reply = site.ask(CANARY)
        assert (reply.status, reply.body) == (503, BODY)
        assert reply.all("content-length") == [str(len(BODY))]
        assert site.ask(Ask(method="HEAD", who=Cohort.CANARY)).body == b""
        assert site.counts() == {"canary 5xx": 2}


@every_interface
def test_a_stream_is_replaced_as_a_whole(interface: Interface) -> None:
    def streaming(site: Site) -> Handling:
        current("checkout")
        yield Start()
        yield from (b"one", b"two", b"three")

    with rehearsal(interface, streaming) as site:
        site.drill(Fault.ERROR)
        assert site.ask(CANARY).chunks == [BODY]
        assert site.ask(STABLE).chunks == [b"one", b"two", b"three"]


@every_interface
def test_stable_rescues_from_it_as_from_a_real_one(interface: Interface) -> None:
    with rehearsal(interface, rollout={"rescue": Rescue()}) as site:
        site.drill(Fault.ERROR)
        reply = site.ask(CANARY)
        assert (reply.status, reply.body) == (200, b"1")
        assert site.counts() == {"canary rescued": 1}
        assert site.ask(Ask(method="POST", who=Cohort.CANARY)).status == 503


@every_interface
def test_an_exception_is_raised_inside_the_application(interface: Interface) -> None:
    with rehearsal(interface) as site:
        site.drill(Fault.EXCEPTION)
        reply = site.ask(CANARY)
        assert (reply.status, type(reply.error)) == (0, DrillError)
        assert site.counts() == {"canary exception": 1}


def flask_shop(site: Site) -> Any:
    shop = flask.Flask("shop")
    shop.add_url_rule("/checkout", view_func=lambda: current("checkout").version)
    return wsgi.CanaryMiddleware(shop, site.canary)


def starlette_shop(site: Site) -> Any:
    def checkout(request: Request) -> PlainTextResponse:
        return PlainTextResponse(current("checkout").version)

    shop = Starlette(routes=[Route("/checkout", checkout)])
    return asgi.CanaryMiddleware(shop, site.canary)


def test_an_exception_passes_the_frameworks_like_one_of_a_middleware() -> None:
    with rehearsal(Interface.ASGI) as site, rehearsal(Interface.WSGI) as other:
        cookie = [("cookie", f"__Host-canary-shop={site.cookie(Cohort.CANARY)}")]
        site.drill(Fault.EXCEPTION)
        other.drill(Fault.EXCEPTION)
        scope = asgi_driver.http_scope(Ask(), cookie)
        reply = asyncio.run(asgi_driver.exchange(starlette_shop(site), scope))
        environ = wsgi_driver.http_environ(Ask(), cookie)
        again = wsgi_driver.exchange(flask_shop(other), environ)
        assert [type(reply.error), type(again.error)] == [DrillError, DrillError]
        assert [site.hits(), other.hits()] == [1, 1]
        assert [site.counts(), other.counts()] == [{"canary exception": 1}] * 2


@every_interface
def test_latency_lets_the_answer_start_later(interface: Interface) -> None:
    with rehearsal(interface) as site:
        site.drill(Fault.LATENCY, delay=2.0)
        site.clock.step = 0.5
        reply = site.ask(CANARY)
        assert (reply.status, reply.body) == (200, b"2")
        (cell,) = site.engine.recorder.cells().values()
        (bucket,) = (number for number, count in enumerate(cell.starts) if count)
        assert bucket >= bucket_of(2.0), STARTS[bucket]


@every_interface
def test_a_hang_ends_after_the_time_out_with_an_error(interface: Interface) -> None:
    with rehearsal(interface) as site:
        site.drill(Fault.HANG)
        began, site.clock.step = site.clock.at, WAITING
        reply = site.ask(CANARY)
        assert (reply.status, reply.body) == (503, BODY)
        assert 30 + BEYOND <= site.clock.at - began < MINUTE


@every_interface
def test_a_hang_ends_with_its_drill(interface: Interface) -> None:
    with rehearsal(interface) as site:
        drill = site.drill(Fault.HANG)
        site.clock.at += drill.seconds - 10.0
        site.clock.step = 0.5
        began = site.clock.at
        assert site.ask(CANARY).status == 503
        assert site.clock.at - began < 15


def test_who_waits_does_not_block_the_loop_and_gives_up_when_the_client_is_gone() -> None:
    with rehearsal(Interface.ASGI) as site:
        shop = asgi.CanaryMiddleware(
            asgi_driver.as_asgi(asgi_driver.bound(version, site)), site.canary
        )
        cookies = {side: [("cookie", f"__Host-canary-shop={site.cookie(side)}")] for side in Cohort}

        async def ask(side: Cohort, gone: float) -> tuple[float, int]:
            connection = asgi_driver.Connection()
            scope = asgi_driver.http_scope(Ask(), cookies[side])
            asyncio.get_running_loop().call_later(gone, connection.gone.set)
            await shop(scope, connection.receive, connection.send)
            return site.clock.at, connection.reply.status

        async def both() -> tuple[tuple[float, int], tuple[float, int]]:
            loop = asyncio.get_running_loop()
            site.clock.at = loop.time()

            async def turn() -> None:
                while True:
                    site.clock.at = loop.time()
                    await asyncio.sleep(0.05)

            site.drill(Fault.HANG)
            turning = asyncio.create_task(turn())
            try:
                return await asyncio.gather(ask(Cohort.CANARY, 3.0), ask(Cohort.STABLE, 99.0))
            finally:
                turning.cancel()

        (canary, status), (stable, good) = virtual_time.run(both())
        assert (status, good) == (503, 200)
        assert stable < 0.1
        assert 2.9 < canary < 3.5


@every_interface
def test_events_are_observed_once_more_than_they_happened(interface: Interface) -> None:
    def paying(site: Site) -> Handling:
        if current("checkout").is_canary:
            observe("charges", 1)
        yield Start()
        yield b"paid"

    with rehearsal(interface, paying) as site:
        site.ask(CANARY)
        site.drill(Fault.EVENTS, of="charges", value=1.0)
        assert site.ask(CANARY).status == 200
        site.clock.at += 100
        site.engine.measuring.book()
        (cell,) = site.engine.recorder.cells().values()
        assert cell.observed["charges"] == [2, 1]


# --- into whom ------------------------------------------------------------------------------------


class HitsEverybody(Drills):
    """The mistake that must never be made."""

    def strike(self, visit: Visit) -> Blow | None:
        if hasattr(visit, "struck"):
            return None
        (one,) = visit.exposed.values()
        visit.struck = Blow(visit.engine, visit, one, self.heard[one.rollout])
        return visit.struck


def ask_stable(site: Rehearsal, share: str = "100%") -> None:
    """Stable under a drill of each kind, which must not be hit."""
    for fault in Fault:
        site.drill(fault, share, delay=5.0, of="charges")
        for _ in range(3):
            reply = site.ask(STABLE)
            assert (reply.status, reply.body) == (200, b"1")
        site.verb(Verb.SETTLE)
    assert site.hits() == 0
    assert site.counts() == {"stable 2xx": 3 * len(Fault)}


@every_interface
def test_stable_is_out_of_reach(interface: Interface) -> None:
    with rehearsal(interface) as site:
        ask_stable(site)


@every_interface
def test_a_drill_that_hits_stable_is_found(interface: Interface) -> None:
    class Broken(Rehearsal):
        def drill(self, fault: Fault, share: str = "100%", **more: Any) -> Drill:
            drill = super().drill(fault, share, **more)
            found = self.engine.drills
            assert found is not None
            self.engine.drills = HitsEverybody(self.engine, found.heard, found.heard)
            return drill

    with Broken(interface, version, weight="50%") as site, pytest.raises(AssertionError):
        ask_stable(site)


def who(view: Any) -> Visitor | None:
    name = view.header("x-user")
    return Visitor(name, frozenset({"beta"}) if name == "tina" else frozenset()) if name else None


@every_interface
def test_testers_are_not_hit_for_nobody_judges_by_them(interface: Interface) -> None:
    settings = {"identify": who, "bucket_secret": "b" * 32}
    testers = {"testers": Audience(groups=["beta"])}
    with rehearsal(interface, canary=settings, rollout=testers) as site:
        site.drill(Fault.ERROR)
        reply = site.ask(Ask(headers=[("x-user", "tina")]))
        assert (reply.status, reply.body, site.hits()) == (200, b"2", 0)


@every_interface
def test_everybody_on_canary_is_compared_with_nobody_and_not_hit(interface: Interface) -> None:
    with rehearsal(interface) as site:
        site.drill(Fault.ERROR)
        site.verb(Verb.WEIGHT, weight=parse_weight("100%"))
        assert site.ask(Ask()).body == b"2"


@every_interface
def test_who_asks_for_the_version_too_late_is_not_hit(interface: Interface) -> None:
    with rehearsal(interface, late) as site:
        site.drill(Fault.ERROR)
        assert site.ask(CANARY).status == 200


def test_a_share_of_requests_is_hit() -> None:
    with rehearsal(Interface.WSGI) as site:
        site.drill(Fault.ERROR, "50%")
        replies = [site.ask(CANARY).status for _ in range(400)]
        assert 140 < replies.count(503) < 260  # six standard deviations
        assert replies.count(503) == site.hits()
        assert replies.count(200) == 400 - site.hits()


# --- for how long ---------------------------------------------------------------------------------


def hit(site: Rehearsal) -> bool:
    return site.ask(CANARY).status == 503


def test_it_ends_by_the_clock_of_the_process() -> None:
    with rehearsal(Interface.ASGI) as site:
        assert not hit(site)
        site.drill(Fault.ERROR)
        assert hit(site)
        site.clock.at += MINUTE - 0.1
        assert hit(site)
        site.clock.at += 0.1
        assert not hit(site), "nobody lives who could end it"


def test_it_ends_by_the_wall_clock_where_the_other_one_stood_still() -> None:
    with rehearsal(Interface.ASGI) as site:
        site.drill(Fault.ERROR)
        site.time += MINUTE + TOLERANCE - 0.1
        assert hit(site)
        site.time += 0.1
        assert not hit(site)


@pytest.mark.parametrize(
    ("ahead", "lasts"),
    [(0.0, MINUTE), (50.0, 10 + TOLERANCE), (-3600.0, MINUTE), (3600.0, 0.0)],
    ids=["right", "heard late", "slow by an hour", "fast by an hour"],
)
def test_no_wrong_clock_makes_it_longer(ahead: float, lasts: float) -> None:
    with rehearsal(Interface.ASGI) as site:
        begun = site.time
        site.time += ahead
        drill = Drill(Fault.ERROR, parse_weight("100%"), begun, MINUTE, by="test")
        site.verb(Verb.DRILL, drill=drill)
        assert hit(site) is (lasts > 0)
        site.clock.at += max(0.0, lasts - 0.1)
        assert hit(site) is (lasts > 0)
        site.clock.at += 0.2
        assert not hit(site)


def test_other_changes_neither_end_it_nor_begin_it_again() -> None:
    with rehearsal(Interface.ASGI) as site:
        site.drill(Fault.ERROR)
        site.clock.at += MINUTE / 2
        site.verb(Verb.WEIGHT, weight=parse_weight("60%"))
        assert hit(site)
        site.kill()
        site.clock.at += MINUTE / 4
        site.verb(Verb.REVIVE)
        assert hit(site)
        site.clock.at += MINUTE / 4
        assert not hit(site)


@pytest.mark.parametrize("end", [Verb.SETTLE, Verb.ROLLBACK])
def test_it_ends_with_what_ends_it(end: Verb) -> None:
    with rehearsal(Interface.ASGI) as site:
        site.drill(Fault.ERROR)
        site.verb(end)
        assert not hit(site)
        assert site.engine.drills is None, "requests have nothing to look at any more"


# --- what is counted and told ---------------------------------------------------------------------


def test_requests_and_visitors_are_counted_apart_from_the_evidence() -> None:
    made = measured(parse_weight("50%"))
    drill = Drill(Fault.ERROR, parse_weight("100%"), made.time.wall, MINUTE, by="test")
    before = document(
        parse_weight("50%"), guards=(Guard.errors(),), at=made.time.wall, baseline=QUICK
    )
    state = before.rollouts["checkout"]
    entry = replace(state.entries["2"], drill=drill)
    made.engine.adopt(replace(before, rollouts={"checkout": replace(state, entries={"2": entry})}))
    witness = Witness()
    made.engine.describe_with(witness)
    for cookie in [cookie_for(made, canary=True) for _ in range(3)] * 2:
        visit = made.visit("/", cookie=cookie)
        visit.expose("checkout")
        assert made.engine.drills is not None
        assert made.engine.drills.strike(visit) is not None
        assert made.engine.drills.strike(visit) is None, "once per request"
    assert made.events()["drilled"] == 6
    assert booked(made).seen[Cohort.CANARY].observed[DRILLED] == [6, 0]
    ((_, _, _, firsts),) = made.engine.measuring.take_firsts()
    assert len({first.visitor for first in firsts if first.kind == DRILLED}) == 3
    assert [told for told in witness.seen if told[0] == "drilled"] == [
        ("drilled", ("/", "error"))
    ] * 6


def test_spans_say_that_it_was_meant() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry = {"telemetry": Telemetry(provider, spans="create")}
    with rehearsal(Interface.ASGI, canary=telemetry) as site:
        site.drill(Fault.ERROR)
        site.ask(CANARY)
        site.ask(STABLE)
    drilled, other = exporter.get_finished_spans()
    assert (drilled.attributes or {})["canary.drill"] == "error"
    assert "canary.drill" not in (other.attributes or {})


def test_it_is_logged_when_a_process_hears_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with rehearsal(Interface.ASGI) as site:
        site.drill(Fault.ERROR, "20%")
        site.verb(Verb.WEIGHT, weight=parse_weight("60%"))
    told = [record.getMessage() for record in caplog.records if "drill" in record.getMessage()]
    assert told == [
        "drill: error in 20% of the canary requests of checkout 2, for 60 s at most (begun by test)"
    ]


def test_nothing_is_looked_at_without_a_drill() -> None:
    made = world(CHECKOUT)
    assert made.engine.drills is None
