"""Own instruments: right numbers, a fixed number of series, nothing kept alive, fit for forks."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import time
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint

from canary_middleware import Canary, current, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.guards import Action
from canary_middleware.core.model import Assignment
from canary_middleware.core.outcomes import EDGES, OutcomeClass
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.spans import TracedVisit
from tests.support.servers import LOCALHOST, free_port
from tests.telemetry.apps import (
    CANARY,
    CHECKOUT,
    SITE,
    STABLE,
    App,
    Receive,
    Scope,
    Sdk,
    Send,
    canary,
    get,
)

ROOT = Path(__file__).parents[2]


def shop(status: int = 200) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        version = current("checkout").version
        current("site")
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": version.encode()})

    return app


def test_requests_and_durations_agree_with_what_clients_saw(sdk: Sdk) -> None:
    app = CanaryMiddleware(shop(), canary=canary(sdk, weight="50%"))
    seen = [get(app).text for _ in range(200)]
    counts = {version: seen.count(version) for version in (STABLE, CANARY)}
    assert min(counts.values()) > 50
    assert sdk.numbers("canary.requests") == {
        ("checkout", STABLE, "stable", "2xx"): counts[STABLE],
        ("checkout", CANARY, "canary", "2xx"): counts[CANARY],
    }
    assert sdk.counts("canary.request.duration") == counts
    assert set(sdk.numbers("canary.requests.in_flight").values()) == {0}


def test_outcomes_have_classes(sdk: Sdk) -> None:
    made = canary(sdk, weight="0%")
    for status in (204, 302, 404, 500):
        get(CanaryMiddleware(shop(status), canary=made))
    outcomes = {str(key[3]): value for key, value in sdk.numbers("canary.requests").items()}
    assert outcomes == {"2xx": 1, "3xx": 1, "4xx": 1, "5xx": 1}


def test_a_running_request_is_in_flight(sdk: Sdk) -> None:
    during: list[dict[tuple[object, ...], float]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        current("checkout")
        during.append(sdk.numbers("canary.requests.in_flight"))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    get(CanaryMiddleware(app, canary=canary(sdk)))
    assert during == [{("checkout", CANARY, "canary"): 1}]
    assert sdk.numbers("canary.requests.in_flight") == {("checkout", CANARY, "canary"): 0}


def test_the_duration_has_the_boundaries_of_the_conventions(sdk: Sdk) -> None:
    get(CanaryMiddleware(shop(), canary=canary(sdk)))
    (point,) = sdk.points("canary.request.duration")
    assert isinstance(point, HistogramDataPoint)
    assert tuple(point.explicit_bounds) == EDGES
    assert 0 < point.sum < 5


def test_the_duration_can_be_switched_off(sdk: Sdk) -> None:
    telemetry = Telemetry(sdk.tracers, sdk.meters, duration=False)
    made = canary(sdk, telemetry=telemetry)  # held: what nobody holds is no longer published
    get(CanaryMiddleware(shop(), canary=made))
    assert sdk.points("canary.request.duration") == []
    assert sdk.numbers("canary.requests") == {("checkout", CANARY, "canary", "2xx"): 1}


def test_the_control_state_is_published(sdk: Sdk) -> None:
    made = canary(sdk, SITE, CHECKOUT, weight="12.5%")
    assert sdk.numbers("canary.weight") == {
        ("site", "green", "canary"): 12.5,
        ("checkout", CANARY, "canary"): 12.5,
    }
    phases = sdk.numbers("canary.phase")
    assert [key for key, value in phases.items() if value] == [
        ("site", "paused"),
        ("checkout", "paused"),
    ]
    assert sdk.numbers("canary.kill") == {("site",): 0, ("checkout",): 0}
    before = sdk.numbers("canary.control.revision")[()]
    verbs.promote(made.store, "site", by="test")
    made.store.kill("checkout", by="test", why="broken", now=time.time())
    assert sdk.numbers("canary.control.revision")[()] == before + 2
    assert sdk.numbers("canary.kill") == {("site",): 0, ("checkout",): 1}
    assert sdk.numbers("canary.phase")["site", "promoted"] == 1
    assert sdk.numbers("canary.phase")["site", "paused"] == 0


def test_the_evidence_of_guards_is_published_while_they_are_judged(sdk: Sdk) -> None:
    made = canary(sdk, weight="12.5%")
    assert sdk.numbers("canary.guard.evidence") == {}
    found = Finding(
        "errors", Action.BREACH, "failures", "visitors", Share(), Share(), 2.0, 4.0,
        proof=1.0, needed=4.0,
    )  # fmt: skip
    unproven = replace(found, guard="throughput", log_e=-2.0, proof=None)
    findings = (found, unproven)
    verdict = Verdict(Decision.INCONCLUSIVE, proven=False, findings=findings, visitors=(1, 9))
    made.engine.measuring.judged("checkout", CANARY, verdict)
    assert sdk.numbers("canary.guard.evidence") == {
        ("checkout", CANARY, "errors"): 0.5,
        ("checkout", CANARY, "throughput"): -0.5,
    }
    assert sdk.numbers("canary.guard.proof") == {("checkout", CANARY, "errors"): 0.25}
    verbs.promote(made.store, "checkout", by="test")
    assert sdk.numbers("canary.guard.evidence") == {}


def test_staleness_is_the_age_of_the_last_confirmation(sdk: Sdk) -> None:
    now = [100.0]
    made = canary(sdk, clock=lambda: now[0])
    assert sdk.numbers("canary.control.staleness") == {}
    made.engine.confirm(100.0)
    now[0] = 107.5
    assert sdk.numbers("canary.control.staleness") == {(): 7.5}


def test_a_store_that_is_away_is_counted(sdk: Sdk) -> None:
    made = canary(sdk, weight=None, store=f"redis://{LOCALHOST}:{free_port()}/0", namespace="shop")
    made.arrive_blocking()
    made.stop()
    assert sdk.numbers("canary.events")["store_error",] >= 1


# --- series -------------------------------------------------------------------------------------


def strangers(rng: random.Random, count: int) -> Iterable[dict[str, str]]:
    """Requests as outsiders make them: nothing about them is bounded."""
    for _ in range(count):
        word = f"{rng.getrandbits(64):x}"
        yield {
            "path": f"/checkout/{word}",
            "method": rng.choice(["GET", "POST", "HEAD", word.upper()]),
            "host": f"{word}.example",
            "user_agent": word,
            "cookie": f"session={word}",
            "authorization": f"Bearer {word}",
        }


def series_stay_the_same(telemetry: type[Telemetry], count: int) -> None:
    sdk = Sdk()
    rng = random.Random(7)
    made = canary(sdk, SITE, CHECKOUT, weight="50%", telemetry=telemetry(sdk.tracers, sdk.meters))
    app = CanaryMiddleware(shop(), canary=made)
    for request in strangers(rng, 100):
        get(app, **request)
    before = sdk.series()
    for request in strangers(rng, count):
        get(app, **request)
    assert sdk.series() == before


class CountsByPath(Telemetry):
    """Broken: the duration has the path as a label."""

    def finished(
        self, visit: TracedVisit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        super().finished(visit, booked, kind, seconds)
        if self._record is not None:
            self._record(seconds, {"url.path": visit.view.native["path"]})


def test_thousands_of_strangers_add_no_series() -> None:
    series_stay_the_same(Telemetry, 3000)


def test_a_label_that_strangers_choose_is_noticed() -> None:
    with pytest.raises(AssertionError):
        series_stay_the_same(CountsByPath, 20)


# --- life ---------------------------------------------------------------------------------------


def test_instruments_keep_no_dead_engine_alive(sdk: Sdk) -> None:
    made: Canary | None = canary(sdk)
    assert made is not None
    assert sdk.numbers("canary.kill") == {("checkout",): 0}
    engine = weakref.ref(made.engine)
    made = None
    sdk.kept.clear()
    gc.collect()
    assert engine() is None
    assert sdk.numbers("canary.kill") == {}


def test_two_namespaces_of_a_process_are_both_published(sdk: Sdk) -> None:
    first = canary(sdk, CHECKOUT, namespace="shop")
    second = canary(sdk, SITE, namespace="admin")
    assert set(sdk.numbers("canary.kill")) == {("checkout",), ("site",)}
    assert first.namespace != second.namespace


def test_two_engines_of_a_namespace_share_a_telemetry(sdk: Sdk) -> None:
    telemetry = Telemetry(sdk.tracers, sdk.meters)
    first, second = canary(sdk, telemetry=telemetry), canary(sdk, telemetry=telemetry)
    for made in (first, second):
        get(CanaryMiddleware(shop(), canary=made))
    assert sdk.numbers("canary.requests") == {("checkout", CANARY, "canary", "2xx"): 2}
    assert sdk.numbers("canary.weight") == {("checkout", CANARY, "canary"): 100}


FORK = """
import json, os
from canary_middleware.asgi import CanaryMiddleware
from tests.telemetry.apps import Sdk, canary, get
from tests.telemetry.test_metrics import shop

sdk = Sdk()
app = CanaryMiddleware(shop(), canary=canary(sdk))
for _ in range(3):
    get(app)
reading, writing = os.pipe()
if os.fork() == 0:
    get(app)
    os.write(writing, json.dumps(list(sdk.numbers("canary.requests").values())).encode())
    os._exit(0)
os.wait()
mine = list(sdk.numbers("canary.requests").values())
print(json.dumps([json.loads(os.read(reading, 1000)), mine]))
"""


def test_a_forked_child_publishes_its_own_counts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(done.stdout) == [[1], [3]]
