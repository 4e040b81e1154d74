"""Readiness of other servers: closed until the first answer; stable is asked again and again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from canary_middleware.core.model import Reason
from canary_middleware.targets.probing import STABLE, Prober
from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts
from tests.engine.world import World, world
from tests.support.servers import wait_until
from tests.upstream.origins import Origin, Peer


class Server:
    """Answers its probe when it is told to."""

    def __init__(self) -> None:
        self.up = False
        self.asked = threading.Semaphore(0)

    def silence(self) -> str:
        self.asked.release()
        return "" if self.up else "it said 503"


class Site:
    def __init__(self) -> None:
        self.canary, self.stable = Server(), Server()
        self.world: World = world()
        probes = {"checkout": self.canary.silence, STABLE: self.stable.silence}
        self.prober = Prober(self.world.engine, probes)

    @property
    def silent(self) -> set[tuple[str, str]]:
        return {(name, label) for name, label, _ in self.world.engine.silent()}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.prober.stop()


def test_the_arm_is_closed_until_the_target_has_answered_once(site: Site) -> None:
    assert ("checkout", "2") in site.silent, "before anybody asked"
    assert site.world.visit().expose("checkout").reason is Reason.NOT_READY
    site.prober.ensure_started()
    site.canary.asked.acquire(timeout=5)
    assert ("checkout", "2") in site.silent
    site.canary.up = True
    wait_until(lambda: ("checkout", "2") not in site.silent)
    assert site.world.visit().expose("checkout").reason is not Reason.NOT_READY


def test_stable_is_asked_and_closes_nothing(site: Site) -> None:
    assert ("checkout", "1") not in site.silent, "unknown is no reason to keep anybody from it"
    site.prober.ensure_started()
    wait_until(lambda: ("checkout", "1") in site.silent)
    site.stable.up = True
    wait_until(lambda: ("checkout", "1") not in site.silent)


def test_one_thread_and_none_after_the_end(site: Site) -> None:
    def mine() -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name == "canary-probes"]

    wait_until(lambda: not mine())  # of the tests before
    for _ in range(3):
        site.prober.ensure_started()
    assert len(mine()) == 1
    site.prober.stop()
    wait_until(lambda: not mine())


def test_one_that_hangs_has_one_probe_at_a_time_and_keeps_nobody_from_the_others() -> None:
    under_way = [0]

    def hanging(peer: Peer) -> None:
        peer.head()
        peer.head()  # until the other side has had enough

    def silence() -> str:
        under_way.append(under_way[-1] + 1)
        why = upstream.silence()
        under_way.append(under_way[-1] - 1)
        return why

    made, other = world(), Server()
    with Origin(hanging) as origin:
        upstream = AsgiUpstream(origin.url, probe="/healthz", timeouts=Timeouts(connect=0.1))
        prober = Prober(made.engine, {STABLE: silence, "checkout": other.silence})
        prober.ensure_started()
        for _ in range(3):
            assert other.asked.acquire(timeout=10)
        wait_until(lambda: len(under_way) > 6, what="it was asked three times")
        prober.stop()
        silent = {label: why for _, label, why in made.engine.silent()}
    assert max(under_way) == 1
    assert silent["1"] == "no answer: the upstream kept us waiting"
