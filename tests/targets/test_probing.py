"""Readiness of other servers: closed until the first answer; stable is asked again and again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from canary_middleware.core.model import Reason
from canary_middleware.targets.probing import STABLE, Prober
from tests.engine.world import World, world
from tests.support.servers import wait_until


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
