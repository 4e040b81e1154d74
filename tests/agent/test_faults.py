"""Agents against servers that are broken in every way we know, side by side: they mostly wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.agent.disk import Disk
from canary_middleware.core.state import EVERYTHING
from canary_middleware.errors import NotPersistedError
from tests.agent.held import started
from tests.agent.several import HEARD, Site, agents_of, killed, restores
from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.beside import beside

pytestmark = pytest.mark.slow
KILL_KEY = "canary:{shop}:kill"


def flushed(site: Site) -> None:
    site.agents(4)
    document = site.start()
    with site.server.client() as client:
        client.flushall()
    assert wait_until(lambda: site.people.load().document == document, what="restored") < HEARD
    time.sleep(HEARD)
    assert len(restores(site.people)) == 1
    assert all(held.document == document for held in site.helds)
    assert all(held.adopted.count(document) == 1 for held in site.helds), "nobody flickered"


def flushed_while_killed(site: Site) -> None:
    site.agents(2)
    site.start()
    verbs.kill(site.people, by="me")
    site.all(killed, HEARD, "killed")
    with site.server.client() as client:
        client.flushall()
    for _ in range(8):
        site.agent()
        time.sleep(0.1)
    site.all(killed, 2.0, "killed, newcomers too")
    for held in site.helds:
        known = [document for document in held.adopted if document is not None]
        first = next(i for i, document in enumerate(known) if document.kills)
        assert all(document.kills for document in known[first:])
    assert all(document.kills for held in site.helds[2:] for document in held.adopted if document)


def full(site: Site) -> None:
    site.agents(3)
    site.start()
    with site.server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(NotPersistedError):
            verbs.kill(site.people, by="me", why="smoke")
        site.all(killed, HEARD, "killed")
        time.sleep(1.2)
        assert all(map(killed, site.helds)), "polls of the old state lift nothing"
        assert all(time.monotonic() - held.confirmed_at < 1.5 for held in site.helds)
        client.config_set("maxmemory", "0")
    wait_until(lambda: EVERYTHING in (site.people.load().document or started()).kills, timeout=2.0)


def unsubscribed(site: Site) -> None:
    site.agents(3)
    site.start()
    with site.server.client() as client:
        for _ in range(4):
            client.client_kill_filter(_type="pubsub", skipme=True)
            verbs.kill(site.people, by="me")
            site.all(killed, HEARD, "killed")
            verbs.revive(site.people, by="me")
            site.all(lambda held: not held.killed, HEARD, "revived")
    assert all(held.recorder.events["resubscribe"] for held in site.helds)


def paused(site: Site) -> None:
    site.agents(2)
    site.start()
    with site.server.client() as client:
        client.client_pause(2_000)
        client.close()
    time.sleep(2.0)
    resumed = time.monotonic()
    site.all(lambda held: held.confirmed_at > resumed, 2.0, "confirmed again")
    verbs.kill(site.people, by="me")
    site.all(killed, HEARD, "killed")


def emptied(site: Site) -> None:
    site.agents(2)
    document = site.start()
    site.server.kill()
    time.sleep(1.0)
    site.server.start()
    wait_until(lambda: site.people.load().document == document, timeout=2.0, what="restored")


def revoked(site: Site) -> None:
    with site.server.client() as client, FaultProxy(site.server.port) as proxy:
        client.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], channels=["*"],
                           commands=["+@all"])  # fmt: skip
        url = f"redis://app:pw@127.0.0.1:{proxy.port}/0"
        agent, held = site.agent(url)
        assert agent.wait_first_load(5.0)
        site.wait_listening(1)
        client.acl_setuser("app", enabled=False)
        client.client_kill_filter(user="app")
        before = proxy.accepted
        time.sleep(4.0)
        assert proxy.accepted - before <= 5
        client.acl_setuser("app", enabled=True)
        back = time.monotonic()
        wait_until(lambda: held.confirmed_at > back, timeout=2.0, what="joined")
        site.start()
        agent.stop()


def kill_key(site: Site) -> None:
    site.agents(3)
    document = site.start()
    with site.server.client() as client:
        client.set(KILL_KEY, "typed at 2 a.m.")
        site.all(killed, HEARD, "killed")
        client.delete(KILL_KEY)
        time.sleep(1.2)
        assert all(map(killed, site.helds))
    history = [(audit.action, audit.why) for audit in site.people.history(None, 9)]
    assert history == [("kill", "typed at 2 a.m."), ("start", "")]
    present = site.people.load().document
    assert present is not None
    assert present.revision == document.revision + 1
    verbs.revive(site.people, by="me")
    site.all(lambda held: not held.killed, HEARD, "revived")
    time.sleep(1.2)
    assert not any(map(killed, site.helds))


def restarted(site: Site) -> None:
    agent, held = site.agent(snapshot_path=site.directory)
    assert agent.wait_first_load(5.0)
    site.start()
    verbs.kill(site.people, by="me")
    site.all(killed, HEARD, "killed")
    kept = Disk(site.directory, "shop")
    wait_until(lambda: kept.read() == held.document, timeout=HEARD, what="on disk")
    agent.stop()
    site.server.kill()
    agent, held = site.agent(snapshot_path=site.directory)
    assert agent.wait_first_load(5.0)
    assert held.killed
    assert held.weight == 20_000
    site.server.start()
    wait_until(lambda: site.people.load().document == held.document, timeout=2.0, what="restored")


def absent(site: Site) -> None:
    site.server.kill()
    agent, held = site.agent()
    assert agent.wait_first_load(0.5)
    time.sleep(1.5)
    site.server.start()
    back = time.monotonic()
    wait_until(lambda: held.confirmed_at > back, timeout=2.0, what="joined")
    site.wait_listening(1)
    site.start()


FAULTS: Mapping[str, Callable[[Site], None]] = {
    "revoked permission makes no storm": revoked,
    "a paused server is joined again": paused,
    "a lost subscription loses no kill": unsubscribed,
    "the plain kill key is heard and its deletion lifts nothing": kill_key,
    "all processes restart during an outage": restarted,
    "a server that is absent at first is joined within 2 seconds": absent,
    "out of memory the kill reaches all and is kept when there is memory": full,
    "a server that comes back empty gets its state back": emptied,
    "FLUSHALL at 20 percent is undone by one writer": flushed,
    "FLUSHALL while killed stays killed for all who know and who come": flushed_while_killed,
}


def alone(directory: Path, fault: Callable[[Site], None]) -> None:
    with RedisServer(directory) as server, agents_of(server, directory) as site:
        fault(site)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Future[None]]:
    return beside(
        {
            name: partial(alone, tmp_path_factory.mktemp(fault.__name__), fault)
            for name, fault in FAULTS.items()
        }
    )


@pytest.mark.parametrize("fault", FAULTS)
def test_each_is_outlived(found: Mapping[str, Future[None]], fault: str) -> None:
    found[fault].result()
