"""Agents with their threads against a real server that is broken in every way we know."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.agent import Agent
from canary_middleware.core.codec import encode_body
from canary_middleware.core.state import EVERYTHING, Document, Kill, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.stores import open_store
from tests.agent.held import Held
from tests.agent.several import HEARD, Site, agents_of, killed
from tests.support.redis import RedisServer
from tests.support.servers import Process, wait_until

pytestmark = pytest.mark.slow
STATE, KILL_KEY = "canary:{shop}:state", "canary:{shop}:kill"


@pytest.fixture
def site(redis_server: RedisServer, tmp_path: Path) -> Iterator[Site]:
    with agents_of(redis_server, tmp_path) as made:
        yield made


def test_everybody_hears_of_everything(site: Site) -> None:
    site.agents(3)
    document = site.start()
    assert all(held.document == document for held in site.helds)
    wait_until(lambda: len(site.people.processes()) == 3, what="reports")
    assert {name for report in site.people.processes() for name in report.plans} == {"checkout"}
    killed_at = verbs.kill(site.people, by="me", why="smoke")
    assert site.all(killed, HEARD, "killed") < 0.5
    wait_until(
        lambda: {report.revision for report in site.people.processes()} == {killed_at.revision},
        timeout=HEARD,
        what="nobody is shown as behind",
    )
    verbs.revive(site.people, by="me")
    site.all(lambda held: not held.killed, HEARD, "revived")


@pytest.mark.alone
def test_first_load_waits_for_the_state_and_not_for_a_dead_store(
    site: Site, redis_server: RedisServer
) -> None:
    verbs.kill(site.people, by="me")
    agent, held = site.agent()
    assert agent.wait_first_load(5.0)
    assert held.killed
    redis_server.kill()
    agent, _ = site.agent()
    before = time.monotonic()
    assert agent.wait_first_load(5.0)
    assert time.monotonic() - before < 0.25


def test_stop_ends_both_threads_and_start_begins_anew(site: Site) -> None:
    agent, held = site.agent()
    assert agent.wait_first_load(5.0)
    wait_until(lambda: len(site.people.processes()) == 1, what="report")
    for _ in range(2):
        before = time.monotonic()
        agent.stop()
        assert time.monotonic() - before < 1.0
        assert not [t for t in threading.enumerate() if t.name.startswith("canary-")]
        assert site.people.processes() == []
        agent.ensure_started()
        agent.ensure_started()
        assert len([t for t in threading.enumerate() if t.name.startswith("canary-")]) == 2
        wait_until(lambda: len(site.people.processes()) == 1, what="report")
    site.start()
    assert held.weight == 20_000


def test_stop_takes_a_second_at_most_while_the_server_is_stopped(site: Site) -> None:
    agent, _ = site.agent()
    assert agent.wait_first_load(5.0)
    site.wait_listening(1)
    site.server.pause()
    try:
        time.sleep(0.3)
        before = time.monotonic()
        agent.stop()
        assert time.monotonic() - before < 1.1
    finally:
        site.server.resume()


def said(what: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of one thing, in order: ``degraded``, ``recovered``."""
    lines = [record.getMessage().split(": ") for record in caplog.records]
    return [words[1] for words in lines if words[0] == what]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"garbage", id="text"),
        pytest.param(b"\xff" * 100, id="bytes"),
        pytest.param(b"x" * 64 * 2**20, id="64 MB", marks=pytest.mark.alone),
    ],
)
def test_garbage_in_any_key_leaves_the_last_good_state(
    site: Site, caplog: pytest.LogCaptureFixture, value: bytes
) -> None:
    caplog.set_level(logging.WARNING)
    site.agents(1, poll=0.2)
    document = site.start()
    with site.server.client() as client:
        for name in ("state", "audit", "processes", "heard"):
            client.set(f"canary:{{shop}}:{name}", value)
        client.publish("canary:{shop}:push", value)
        wait_until(lambda: bool(said("state", caplog)), timeout=10.0, what="noticed")
        time.sleep(0.7)  # three looks at least
        assert site.helds[0].document == document
        # On a busy machine 64 MB may come too late as well, which is told as an outage beside it.
        assert said("state", caplog) == ["degraded"]
        client.delete(STATE)
    wait_until(lambda: site.people.load().document == document, timeout=10.0, what="restored")
    verbs.kill(site.people, by="me")
    site.all(killed, HEARD, "killed")


def test_a_kill_over_garbage_is_heard(site: Site) -> None:
    site.agents(2)
    document = site.start()
    with site.server.client() as client:
        client.set(STATE, "garbage")
        verbs.kill(site.people, "checkout", by="me", why="smoke")
        site.all(killed, HEARD, "killed")
        client.delete(STATE)
    wait_until(lambda: site.people.load().document is not None, timeout=2.0, what="restored")
    restored = site.people.load().document
    assert restored is not None
    assert (restored.lineage, set(restored.kills)) == (document.lineage, {EVERYTHING})
    assert restored.rollouts == document.rollouts


def test_a_stopped_server_confirms_nothing_and_is_followed_within_2_seconds_of_its_return(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.agents(2)
    document = site.start()
    threads = threading.active_count()
    site.server.pause()
    stopped = time.monotonic()
    time.sleep(3.0)
    assert all(held.confirmed_at < stopped + 0.1 for held in site.helds)
    assert all(held.document == document for held in site.helds)
    assert threading.active_count() == threads
    site.server.resume()
    resumed = time.monotonic()
    site.all(lambda held: held.confirmed_at > resumed, 2.0, "confirmed again")
    time.sleep(1.0)
    # Whatever else was under way at that moment, such as a report or a lease, fails beside it.
    assert sorted(said("store", caplog)) == ["degraded"] * 2 + ["recovered"] * 2
    site.wait_listening(2)
    verbs.kill(site.people, by="me")
    assert site.all(killed, HEARD, "killed") < 0.5, "by push"


def test_two_documents_of_equal_revision_end_killed(site: Site) -> None:
    site.agents(2)
    document = site.start()
    verbs.kill(site.people, by="me")
    site.all(killed, HEARD, "killed")
    # A fail-over lost the kill, and somebody moved the weight on the new master. In one step: the
    # agents would put the kill back in between.
    moved = apply(document, Command(Verb.WEIGHT, "checkout", weight=50_000), 1.0)
    with site.server.client() as client, client.pipeline(transaction=True) as step:
        step.hdel(STATE, "kill:*")
        step.hset(STATE, mapping={"revision": moved.revision, "body": encode_body(moved)})
        step.execute()
    wait_until(lambda: EVERYTHING in (site.people.load().document or document).kills, timeout=2.0)
    final = site.people.load().document
    site.all(lambda held: held.document == final, HEARD, "one document")
    assert all(held.killed and held.weight == 50_000 for held in site.helds)


WITHOUT_THREADS = """
import threading
from canary_middleware import Canary, Rollout, current
from canary_middleware.wsgi import CanaryMiddleware

def app(environ, start_response):
    start_response("200 OK", [])
    return [current("checkout").cohort.value.encode()]

canary = Canary(
    Rollout("checkout", stable="1", canary="2"),
    secret_keys=["k" * 32], namespace="shop", store="redis://127.0.0.1:1/0", first_load=0.1,
)
served = CanaryMiddleware(app, canary)
environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
before = threading.stack_size(1 << 46)  # more than there is, so no thread can start
for _ in range(3):
    print(b"".join(served(dict(environ), lambda *_: None)).decode(), threading.active_count())
threading.stack_size(before)
print(b"".join(served(dict(environ), lambda *_: None)).decode(), threading.active_count())
canary.stop()
"""


def test_a_process_that_can_have_no_thread_serves_stable_and_tries_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THREADS], capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["stable 1", "stable 1", "stable 1", "stable 3"]
    (line, *_) = [line for line in done.stderr.splitlines() if "no thread for the agent" in line]
    assert done.stderr.count(line) == 1


class Failing(Held):
    """An engine with a bug."""

    failures = 1

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        if self.failures:
            self.failures -= 1
            raise ZeroDivisionError("a bug")
        super().adopt(document, local_kill)


def test_a_bug_does_not_make_a_process_deaf(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(site.server.url, "shop")
    held = Failing()
    agent = Agent(held, store, namespace="shop")
    verbs.kill(site.people, by="me")
    agent.ensure_started()
    wait_until(lambda: held.killed, timeout=3.0, what="killed")
    agent.stop()
    store.close()
    assert "ZeroDivisionError" in caplog.text


def test_forked_processes_hear_on_connections_of_their_own(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "heard"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.agent.forking", site.server.url, str(folder)]
    with Process(command, tmp_path / "forking.log", cwd=Path(__file__).parents[2]):
        wait_until(lambda: len(list(folder.iterdir())) == 4, what="four processes")
        site.wait_listening(4)
        wait_until(lambda: len(site.people.processes()) == 4, what="four reports")
        assert len({report.pid for report in site.people.processes()}) == 4
        verbs.kill(site.people, by="me")
        wait_until(lambda: len(list(folder.glob("*.killed"))) == 4, timeout=HEARD + 0.5)
        wait_until(lambda: site.people.processes() == [], what="all withdrew")


def test_the_kill_file_of_a_host_is_in_the_report_of_its_processes(
    site: Site, tmp_path: Path
) -> None:
    (tmp_path / "shop.kill").write_text("smoke")
    site.agent(snapshot_path=tmp_path)
    site.agent()

    def told() -> set[str | None]:
        return {report.kill_file for report in site.people.processes()}

    wait_until(lambda: told() == {"smoke", None}, what="both reports")
