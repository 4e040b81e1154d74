"""One outage of the store: how it begins and ends, and what visitors may notice of it."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import redis

from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer, connect
from tests.support.servers import free_port, wait_until
from tests.system.rig import Rig, Worker
from tests.system.site import STABLE
from tests.system.watch import COVERED, PLAIN, Answer, Watch, failures, p99

STALENESS = 3.0
FOLLOW = 2.0
"""Seconds after the store's return within which everybody follows again (issue 2)."""
ADDED = 0.005
"""Seconds by which the store's trouble may slow an answer (FAULTS.md section 2)."""
POLL = 0.9
"""Seconds by which the last confirmation may be older than the outage."""

Fault = Callable[[RedisServer], AbstractContextManager[None]]


@contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    """SIGKILL; it comes back empty."""
    server.kill()
    yield
    server.start()


@contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    """SIGSTOP; the kernel still accepts connections."""
    server.pause()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def masterless(server: RedisServer) -> Iterator[None]:
    """A replica that lost its master and answers every command with an error."""
    with connect(server.url) as client:
        client.config_set("replica-serve-stale-data", "no")
        client.replicaof("127.0.0.1", free_port())
        yield
        client.replicaof("NO", "ONE")


def loading_for(pause: int) -> Fault:
    """It died and comes back with what it held, but answers ``-LOADING`` in the meantime.

    Args:
        pause: microseconds that it takes for each key or KiB.
    """

    @contextmanager
    def loads(server: RedisServer) -> Iterator[None]:
        slowly = [
            "--key-load-delay", str(pause), "--loading-process-events-interval-bytes", "1024"
        ]  # fmt: skip
        with server.client() as client:
            client.config_set("rdbcompression", "no")
            client.mset({f"ballast:{number}": "x" * 2000 for number in range(100)})
            client.save()
            server.kill()
            server.process.command += slowly
            server.process.start().wait_port(server.port)
            yield
            wait_until(partial(_answers, client), timeout=20, what="it has loaded")
        del server.process.command[-len(slowly) :]

    return loads


loading = loading_for(100_000)
"""For some ten seconds."""


@contextmanager
def flushed(server: RedisServer) -> Iterator[None]:
    """FLUSHALL."""
    with server.client() as client:
        client.flushall()
        yield


def paused(command: str) -> Fault:
    """A command that keeps the server from answering any other."""

    @contextmanager
    def said(server: RedisServer) -> Iterator[None]:
        with server.client() as client:
            client.connection_pool.connection_kwargs["socket_timeout"] = 10
            client.execute_command(*command.split())  # DEBUG SLEEP answers afterwards
            yield

    return said


def through(proxy: FaultProxy, change: Callable[[FaultProxy], object]) -> Fault:
    """Something between the workers and their store."""

    @contextmanager
    def changed(_server: RedisServer) -> Iterator[None]:
        change(proxy)
        yield
        proxy.heal()

    return changed


def slow(proxy: FaultProxy) -> None:
    """200 ms, in each direction."""
    proxy.latency = 0.2


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@dataclass
class Outage:
    """When it was, in monotonic seconds, and what was seen of it."""

    watch: Watch
    begun: float
    over: float
    staleness: float

    def of(self, worker: Worker) -> Seen:
        return Seen([a for a in self.watch.answers if a.port == worker.port], self)


@dataclass
class Seen:
    """What one worker answered before, during and after an outage."""

    answers: Sequence[Answer]
    outage: Outage

    def between(self, since: float, until: float = float("inf")) -> list[Answer]:
        return [answer for answer in self.answers if since <= answer.sent < until]

    @property
    def before(self) -> list[Answer]:
        return self.between(0, self.outage.begun)

    @property
    def during(self) -> list[Answer]:
        return self.between(self.outage.begun, self.outage.over)

    def check(self) -> None:
        """Everything that the issue asks for."""
        assert failures(self.answers) == [], "no request fails"
        assert self.added() <= ADDED, "no request waits for the store"
        begun, over = self.outage.begun, self.outage.over
        mine = self.versions(self.before)
        fresh = min(over, begun + self.outage.staleness - POLL)
        assert self.versions(self.between(0, fresh)) == mine, "last state serves"
        late = self.between(begun + self.outage.staleness + 0.1, over)
        assert {a.version for a in late if a.path == COVERED} <= {STABLE}, "stable when too old"
        assert self.versions(self.between(over + FOLLOW)) == mine, "everybody follows again"

    def versions(self, answers: Iterable[Answer]) -> dict[int, set[str]]:
        """The versions that each visitor got."""
        found = defaultdict[int, set[str]](set)
        for answer in answers:
            if answer.path == COVERED:
                found[answer.visitor].add(answer.version)
        return dict(found)

    def added(self) -> float:
        """Seconds added to the p99 during the outage, against the plain page in the same second.

        The median of all seconds: what the store does to requests it does all the time, a stall of
        the machine hits one second.
        """
        begun, over = self.outage.begun, self.outage.over
        slices = [self.between(begun + n, begun + n + 1) for n in range(int(over - begun))]
        assert all(slices), "no request waits for the store"
        return statistics.median(p99(part) - p99(part, PLAIN) for part in slices)


def outage(
    rig: Rig, server: RedisServer, fault: Fault, seconds: float = 4.6, every: float = 0.003
) -> Outage:
    """Watch all workers of a rig before, during and after an outage of their store."""
    return outages([(rig, server, fault)], seconds, every)


def outages(
    places: Sequence[tuple[Rig, RedisServer, Fault]], seconds: float = 4.6, every: float = 0.003
) -> Outage:
    """The same of several rigs, each with a store and a fault of its own, at the same time."""
    workers = [worker for rig, _, _ in places for worker in rig.workers]
    with Watch((worker.port for worker in workers), every=every) as watch, ExitStack() as faults:
        time.sleep(1.2)
        begun = time.monotonic()
        for _, server, fault in places:
            faults.enter_context(fault(server))
        time.sleep(seconds)
        over = time.monotonic()
        faults.close()
        time.sleep(FOLLOW + 0.7)
    return Outage(watch, begun, over, places[0][0].setup.max_staleness or math.inf)
