"""One whole demo that is kept running: what it shows, and what there is to look at meanwhile.

The tests share it, and the last one ends it. A Prometheus scrapes it from its beginning; without
Debian's only the tests about that fail.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.demo.conftest import ROOT, Demo, playing, starting
from tests.integrations.dashboard import queries
from tests.integrations.promql import scraped, truth
from tests.support.prometheus import Prometheus, adapted, binary
from tests.support.redis import RedisServer
from tests.support.servers import LOCALHOST, wait_until

PROMISES = (
    "checkout 1.5.0 was promoted after",
    "at 5 %:",
    "at 25 %:",
    "at 50 %:",
    "at 100 %:",
    "requests to 1.5.0 until then",
    "pay 2.4.0 was rolled back",
    "0 requests given to 2.4.0 later than a second after that",
    "0 on 2.3.1; every answer was a clean 200",
    "orders charged twice when visitors had seen",
    "search 3.1.0 was rolled back",
    "by spans and metrics; 0 of them saw an error page",
    "when it was rolled back",
    "4 of 4 workers heard of the kill",
    "0 requests given to 1.5.0 after their worker had heard of the kill",
    "last request given to 1.5.0 ended",
    "visitors who came back after it have their version again",
    "0 visitors saw two versions without a change of weight",
    "what visitors saw, spans and metrics agree",
    "0 errors in",
)
QUICK = {"scrape_interval: 15s": "scrape_interval: 1s", "evaluation_interval: 15s":
         "evaluation_interval: 1s", "refresh_interval: 5s": "refresh_interval: 1s"}  # fmt: skip
EMPTY = {
    "Rare things A": "what is new begins with its first number, and nothing rare happens twice",
}
"""Queries of the dashboard that may find nothing, and why."""
HAPPENED = {"CanaryRolledBack", "CanaryKillInForce"}
MAYBE = {"CanaryNearRollback", "CanaryFailsMore"}
"""Alerts: a look a second may miss evidence that comes, and a hundred requests are not sure."""
ROLLOUTS = {"checkout", "pay", "search"}
SHOWN = {
    "$job": "shop",
    "$rollout": ".+",
    "$__rate_interval": "5s",
    "offset 30s": "offset 1s",
}
"""What Grafana puts into a query; and a demo's steps are seconds."""


@dataclass
class Kept:
    """A demo whose story is told.

    Attributes:
        targets: where its processes say what a Prometheus can scrape.
        begun: seconds since 1970.
        prometheus: has scraped it since; ``None`` if Debian's is not installed.
    """

    demo: Demo
    store: RedisServer
    targets: Path
    begun: float
    prometheus: Prometheus | None

    @property
    def shown(self) -> str:
        return self.demo.process.output()

    def watched(self) -> Prometheus:
        """The Prometheus, or a failure that names the package."""
        binary("prometheus")
        assert self.prometheus is not None
        return self.prometheus


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    folder = tmp_path_factory.mktemp("kept")
    targets, own = folder / "targets", ROOT / "integrations" / "prometheus"
    with ExitStack() as stack:
        prometheus = None
        if shutil.which("prometheus"):
            adapted(own / "rules.yml", folder / "rules.yml", {})
            config = adapted(own / "prometheus.yml", folder / "prometheus.yml", QUICK)
            prometheus = stack.enter_context(Prometheus(config, folder)).wait_ready()
        store = stack.enter_context(RedisServer(folder))
        play = playing(stack.enter_context(starting(folder)))
        begun = time.time()
        demo = play(store=store.url, keep=True, prometheus=str(targets))
        demo.process.wait_log("Ctrl-C ends it all", 90)
        yield Kept(demo, store, targets, begun, prometheus)


def test_every_promise_is_kept(kept: Kept) -> None:
    shown = kept.shown
    held = [line.removeprefix("  ok  ") for line in shown.splitlines() if line.startswith("  ok  ")]
    assert len(held) == len(PROMISES), shown
    for line, promise in zip(held, PROMISES, strict=True):
        assert promise in line
    assert "\x1b" not in shown  # plain lines where there is no terminal
    assert "\r" not in shown


def test_the_summary_says_who_was_touched(kept: Kept) -> None:
    check_summary(kept.shown)


def test_what_is_printed_for_the_other_terminal_works_there(kept: Kept) -> None:
    check_commands(kept.shown, kept.store.url)


def test_the_panel_lets_its_guest_in_and_nobody_else(kept: Kept) -> None:
    panel = re.search(r"http://127\.0\.0\.1:(\d+)/  the panel; sign in with (\S+)", kept.shown)
    assert panel is not None, kept.shown
    port, token = int(panel[1]), panel[2]
    assert ask(port, "/api/rollouts")[0] == 401
    status, body = ask(port, "/api/rollouts", Authorization=f"Bearer {token}")
    assert status == 200
    assert {each["rollout"] for each in json.loads(body)["rollouts"]} == ROLLOUTS


# --- a Prometheus ---------------------------------------------------------------------------------


def test_each_process_is_a_target_that_tells_what_the_reference_says(kept: Kept) -> None:
    there = truth()
    files = [json.loads(file.read_text()) for file in kept.targets.glob("*.json")]
    told = [(group["labels"]["shop"], target) for (group,) in files for target in group["targets"]]
    assert Counter(shop for shop, _ in told) == {"fastapi": 2, "flask": 2}
    for _, target in told:
        for name, labels in scraped(read(int(target.split(":")[1]), "/metrics")).items():
            assert labels == there[name], name


def test_a_prometheus_counts_what_the_receiver_counts(kept: Kept) -> None:
    prometheus = kept.watched()
    (port,) = [
        int(command.split()[-1]) for command in kept.demo.left() if "demo.receiver" in command
    ]

    def both() -> list[tuple[Counter[str], Counter[str]]]:
        received = json.loads(read(port, "/counts"))["totals_by_version"]
        return [
            (Counter(received.get(ours, {})), by_version(prometheus, theirs))
            for ours, theirs in (
                ("canary.requests", "canary_requests_total"),
                ("canary.request.duration", "canary_request_duration_seconds_count"),
            )
        ]

    kept.demo.process.signal(signal.SIGSTOP)  # the crowd, not the shops
    try:
        wait_until(
            lambda: all(one == other for one, other in both()), timeout=15, what="both agree"
        )
        (requests, _), _ = both()
    finally:
        kept.demo.process.signal(signal.SIGCONT)
    assert requests.keys() == {"1.4.2", "1.5.0", "2.3.1", "2.4.0", "3.0.8", "3.1.0"}
    assert requests["1.5.0"] > 100


def by_version(prometheus: Prometheus, metric: str) -> Counter[str]:
    found = prometheus.now(f"sum by (canary_version) ({metric})")
    return Counter({dict(labels)["canary_version"]: int(value) for labels, value in found.items()})


def test_the_dashboard_has_something_to_show(kept: Kept) -> None:
    prometheus, now = kept.watched(), time.time()
    for title, written in queries().items():
        query = reduce(lambda text, put: text.replace(*put), SHOWN.items(), written)
        assert prometheus.over(query, kept.begun, now) or title in EMPTY, (title, query)


def test_the_rules_record_each_version_and_tell_of_what_happened(kept: Kept) -> None:
    prometheus, now = kept.watched(), time.time()
    rules = prometheus.rules()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    for rule in rules:
        if rule["type"] == "recording":
            series = prometheus.over(rule["name"], kept.begun, now)
            assert {one["metric"]["canary_rollout"] for one in series} == {
                "checkout",
                "pay",
                "search",
            }
    told = prometheus.over('ALERTS{alertstate="firing"}', kept.begun, now)
    fired = {(one["metric"]["alertname"], one["metric"].get("canary_rollout")) for one in told}
    assert {name for name, _ in fired} - MAYBE == HAPPENED
    assert {rollout for name, rollout in fired if name == "CanaryRolledBack"} == {"pay", "search"}


def read(port: int, path: str) -> str:
    status, body = ask(port, path)
    assert status == 200, (path, body)
    return body


def ask(port: int, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection(LOCALHOST, port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


# --- the end --------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_all_and_nothing_is_left(kept: Kept) -> None:
    kept.demo.process.signal(signal.SIGINT)
    assert kept.demo.process.wait(20) == 0  # its verdict
    wait_until(lambda: kept.demo.left() == [], timeout=3, what="every process is gone")
    with kept.store.client() as client:
        assert client.keys("*") == []
    assert list(kept.targets.iterdir()) == []


def check_summary(shown: str) -> None:
    """Who was touched, and by how many everybody counts them."""
    saw, twice, pages, rescued = touched(shown, "pay 2.4.0 +rolled back")
    assert 0 < twice <= saw < 200
    assert (pages, rescued) == (0, 0)
    saw, twice, pages, rescued = touched(shown, "search 3.1.0 +rolled back")
    assert (twice, pages) == (0, 0)
    assert 0 < saw < 200
    assert 0 < rescued < 200
    server = numbers(shown, r"search   http://127\.0\.0\.1:(\d+)  uvicorn, the new search of both")
    assert f"search: the server of 3.1.0, http://127.0.0.1:{server[0]}, is killed" in shown
    assert re.search(
        r"search, [\d.]+ s after its start, [\d.]+ s after its server was killed", shown
    )
    assert touched(shown, "checkout 1.5.0 +promoted")[1:] == [0, 0, 0]
    for version in ("checkout 1.4.2", "checkout 1.5.0", "pay 2.4.0", "search 3.0.8"):
        bodies, spans, *requests = numbers(shown, rf"{version} +(\d.*)")
        assert bodies == spans > 0
        assert len(set(requests)) == 1
    assert re.search(r"pay, [\d.]+ s after its start, by orders-charged-twice: rolled back", shown)


def touched(shown: str, row: str) -> list[int]:
    return numbers(shown, rf"{row} +(\d.*)")


def numbers(shown: str, pattern: str) -> list[int]:
    found = re.search(rf"^  {pattern}$", shown, re.MULTILINE)
    assert found is not None, shown
    return [int(number.replace(",", "")) for number in found[1].split()]


def check_commands(shown: str, url: str) -> None:
    """What is printed for the other terminal works there."""
    variables = dict(re.findall(r"export (CANARY_\w+)=(\S+)", shown))
    variables["CANARY_STORE"] = url
    assert len(re.findall(r"http://127.0.0.1:\d+/checkout", shown)) == 2
    assert "orders charged twice on 2.4.0" in run_canary("history", "pay", **variables)
    assert "checkout" in run_canary("kill", "--why", "a test", **variables)
    run_canary("revive", "--yes", **variables)
    kinds = [
        found["kind"]
        for found in json.loads(run_canary("status", "--json", **variables))["processes"]
    ]
    assert sorted(kinds) == ["asgi", "asgi", "wsgi", "wsgi"]


def run_canary(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "canary_middleware.cli", *arguments],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout
