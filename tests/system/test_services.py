"""Three real services behind one another: a visitor's cohort travels, and nothing else does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.core.model import Cohort
from canary_middleware.core.service import HEADER, KIND, Carried, read, write
from canary_middleware.core.state import Plan
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.weight import FULL
from canary_middleware.stores import StateStore, open_store
from tests.support.clients import Response, Visitor
from tests.support.otlp import Receiver
from tests.support.redis import RedisServer
from tests.support.servers import Process, free_port, wait_until
from tests.system.chain import CANARY, KEY, SHOP, STABLE, Link
from tests.system.rig import BIN, ROOT
from tests.telemetry.test_identifiers import forms

NAMESPACE = "chain"
COMMANDS = {
    "a": "uvicorn tests.system.chain_a:app --log-level debug --port {port}",
    "b": "gunicorn tests.system.chain_b:app --log-level debug --threads 4 --bind 127.0.0.1:{port}",
    "c": "uvicorn tests.system.chain_c:app --log-level debug --port {port}",
}
CODEC = TokenCodec([KEY.encode()], NAMESPACE, KIND)
USERS = [f"user-{number}@example.com" for number in range(24)]
MAIL = "alice@example.com"

Answer = Mapping[str, Any]


@dataclass
class Chain:
    """The services, their store and their receiver."""

    store: StateStore
    ports: Mapping[str, int]
    directory: Path
    receiver: Receiver
    processes: dict[str, Process] = field(default_factory=dict)

    def request(self, service: str, path: str = "/shop/", **headers: str) -> Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with Visitor(self.ports[service]) as visitor:
            return visitor.request("GET", path, headers=sent, fetch={})

    def ask(self, service: str, path: str = "/shop/", **headers: str) -> Answer:
        found: Answer = json.loads(self.request(service, path, **headers).body)
        return found

    def at(self, weight: int) -> None:
        """Put so many visitors on the canary, and wait until every service does."""
        document = verbs.weight(self.store, "shop", weight, by="test")
        self.follow(document.revision)

    def follow(self, revision: int) -> None:
        def follows() -> bool:
            # Later ones may come: that a kill file is gone is a line of history.
            found = [one.revision for one in self.store.processes()]
            return len(found) == 3 and min(found) >= revision

        wait_until(follows, what=f"all follow revision {revision}")

    def kill_file(self, service: str) -> Path:
        return self.directory / service / f"{NAMESPACE}.kill"

    def carried(self, **changes: Any) -> Carried:
        """What is true now."""
        document = self.store.load().document
        entry = document.entry("shop", CANARY) if document else None
        assert entry is not None
        return Carried("shop", CANARY, Cohort.CANARY, entry.epoch)._replace(**changes)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    directory = tmp_path_factory.mktemp("chain")
    with RedisServer(directory) as redis, Receiver() as receiver, ExitStack() as stack:
        store = open_store(redis.url, NAMESPACE, timeout=5.0)
        stack.callback(store.close)
        made = Chain(store, {name: free_port() for name in COMMANDS}, directory, receiver)
        verbs.start(store, "shop", by="test", plan=Plan.from_rollout(SHOP), weight=FULL // 2)
        for name, command in COMMANDS.items():
            (directory / name).mkdir()
            link = Link(redis.url, NAMESPACE, made.ports, str(directory / name), receiver.url)
            program, *rest = command.format(port=made.ports[name]).split()
            log = directory / f"{name}.log"
            process = Process([BIN / program, *rest], log, env=link.environment(), cwd=ROOT)
            made.processes[name] = stack.enter_context(process)
        for name, process in made.processes.items():
            process.wait_port(made.ports[name], timeout=30)
            made.ask(name, "/shop/c" if name == "a" else "/shop/")
        made.follow(1)
        yield made


@pytest.fixture
def half(chain: Chain) -> Iterator[Chain]:
    """Half of the visitors are on the canary, and nothing is killed."""
    chain.at(FULL // 2)
    yield chain
    for service in COMMANDS:
        chain.kill_file(service).unlink(missing_ok=True)


def route(answer: Answer | None) -> list[tuple[str, str]]:
    """Version and reason of each service, the first one first."""
    if answer is None:
        return []
    return [(answer["version"], answer["reason"]), *route(answer["next"])]


def test_the_cohort_travels_along_by_every_client(half: Chain) -> None:
    seen = set()
    for user in USERS:
        long, short = (half.ask("a", f"/shop/{way}", X_User=user) for way in "bc")
        version = long["version"]
        assert route(long) == [(version, "weight"), (version, "upstream"), (version, "upstream")]
        assert route(short) == [(version, "weight"), (version, "upstream")]
        assert long["next"]["baggage"] == f"canary.shop={version}"
        assert long["next"]["next"]["baggage"] == f"canary.shop={version}"
        seen.add(version)
    assert seen == {STABLE, CANARY}


def test_no_cache_mixes_callers_and_nobody_gets_a_cookie(half: Chain) -> None:
    token = write(CODEC, [half.carried()], time.time())
    for service in ("b", "c"):
        response = half.request(service, Canary_Context=token)
        vary = (response.header("Vary") or "").split(", ")
        assert {"Cookie", HEADER} <= set(vary)
        assert response.header("Cache-Control") == "private, no-cache"
        assert response.all("Set-Cookie") == []
        # Who comes without one is an ordinary visitor.
        assert len(half.request(service).all("Set-Cookie")) == 1


def on_canary(chain: Chain) -> str:
    return next(u for u in USERS if chain.ask("a", "/shop/c", X_User=u)["version"] == CANARY)


@pytest.mark.parametrize(
    ("hop", "expected"),
    [
        ("a", [(STABLE, "kill_switch"), (STABLE, "upstream"), (STABLE, "upstream")]),
        ("b", [(CANARY, "weight"), (STABLE, "kill_switch"), (STABLE, "upstream")]),
        ("c", [(CANARY, "weight"), (CANARY, "upstream"), (STABLE, "kill_switch")]),
    ],
)
def test_a_kill_at_any_hop_wins_from_there_on(
    half: Chain, hop: str, expected: list[tuple[str, str]]
) -> None:
    user = on_canary(half)
    half.kill_file(hop).write_text("this host alone")
    wait_until(lambda: route(half.ask("a", "/shop/b", X_User=user)) == expected, what="killed")
    half.kill_file(hop).unlink()
    wait_until(lambda: len(set(route(half.ask("a", "/shop/b", X_User=user)))) == 2, what="lifted")


def test_a_kill_of_all_is_followed_by_all_and_a_replay_after_it_gains_nothing(half: Chain) -> None:
    user = on_canary(half)
    before = half.ask("a", "/shop/c", X_User=user)["next"]["context"]
    half.at(0)
    assert half.ask("c", Canary_Context=before)["version"] == CANARY  # it is good for a minute
    half.follow(verbs.kill(half.store, by="test").revision)
    killed = [(STABLE, "kill_switch")]
    assert route(half.ask("a", "/shop/b", X_User=user)) == killed * 3
    assert route(half.ask("c", Canary_Context=before)) == killed
    half.follow(verbs.revive(half.store, by="test").revision)
    assert route(half.ask("c", Canary_Context=before)) == [(STABLE, "weight")]
    fresh = write(CODEC, [half.carried()], time.time())
    assert route(half.ask("c", Canary_Context=fresh)) == [(CANARY, "upstream")]


def forgeries(good: Carried) -> Mapping[str, str]:
    now = time.time()
    genuine = write(CODEC, [good], now)
    foreign = {
        "keys": TokenCodec([b"k" * 32], NAMESPACE, KIND),
        "namespace": TokenCodec([KEY.encode()], "other", KIND),
        "kind": TokenCodec([KEY.encode()], NAMESPACE, "visitor"),
    }
    return {
        **{f"other {what}": write(codec, [good], now) for what, codec in foreign.items()},
        "other release": write(CODEC, [good._replace(release="3.0")], now),
        "other rollout": write(CODEC, [good._replace(rollout="search")], now),
        "earlier epoch": write(CODEC, [good._replace(epoch=good.epoch - 1)], now),
        "expired": write(CODEC, [good], now - 125),
        "from the future": write(CODEC, [good], now + 65),
        "edited": genuine.replace(":2%2E0:", ":2%2E1:"),
        "cut": genuine[:-1],
        "doubled": f"{genuine}, {genuine}",
        "empty": "",
    }


def test_what_is_not_genuine_changes_nothing(half: Chain) -> None:
    half.at(0)
    good = half.carried()
    assert half.ask("c", Canary_Context=write(CODEC, [good], time.time()))["version"] == CANARY
    for what, token in forgeries(good).items():
        for service in ("b", "c"):
            answers = route(half.ask(service, Canary_Context=token, baggage="canary.shop=2.0"))
            assert answers[0] == (STABLE, "weight"), (what, service)
    # The first service believes nobody.
    assert half.ask("a", "/shop/c", Canary_Context=write(CODEC, [good], time.time()))[
        "version"
    ] == (STABLE)


def test_baggage_from_outside_never_becomes_telemetry(half: Chain) -> None:
    half.at(0)
    forget(half)
    lies = "tenant=7,canary.shop=9.9,canary.version=9.9"
    answer = half.ask("b", baggage=lies)
    assert route(answer) == [(STABLE, "weight"), (STABLE, "upstream")]
    assert answer["next"]["baggage"] == f"tenant=7,canary.shop={STABLE}"
    wait_until(lambda: len(versions(half)) >= 2, what="the spans of both arrive")
    assert set(versions(half)) == {STABLE}
    assert not [span for span in half.receiver.received.spans if "9.9" in str(span)]


def forget(chain: Chain) -> None:
    """All spans of earlier tests, also those on their way: three looks in a row find no more."""
    counts: list[int] = []

    def settled() -> bool:
        counts.append(len(chain.receiver.received.spans))
        return len(set(counts[-3:])) == 1 and len(counts) > 2

    wait_until(settled, every=0.4, what="everything is exported")
    chain.receiver.received.forget()


def versions(chain: Chain) -> list[object]:
    found = (span.attributes.get("canary.version") for span in chain.receiver.received.spans)
    return [version for version in found if version]


def test_nobody_is_named_anywhere(half: Chain) -> None:
    forget(half)
    answer = half.ask("a", "/shop/b", X_User=MAIL)
    sent = [answer["next"], answer["next"]["next"]]
    assert all(one["context"] and one["baggage"] for one in sent)
    (carried,) = read(CODEC, sent[0]["context"].encode(), time.time()).values()
    assert carried == half.carried(cohort=carried.cohort)
    wait_until(lambda: len(versions(half)) >= 3, what="the spans of all arrive")
    logs = "".join(process.output() for process in half.processes.values())
    assert "GET /shop/" in logs  # they did say something
    for form in forms(MAIL):
        for where in (json.dumps(sent), str(half.receiver.received.spans), logs):
            assert form not in where
