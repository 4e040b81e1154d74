"""What users whom all workers know notice when the store of their claims is away.

The policy is ``keep`` and the weight was lowered, so that a third of them is where only a claim
holds him: whoever forgets a claim, moves him.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from canary_middleware import verbs
from canary_middleware.core.bucket import IDENTIFIED, draw, lane_key, threshold
from canary_middleware.core.weight import parse_weight
from tests.support.clients import AsyncVisitor, Pool
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.crowd import versions
from tests.system.outage import ADDED, FOLLOW, Fault
from tests.system.policies import Jarless
from tests.system.rig import Rig, Worker
from tests.system.site import BUCKET_SECRET, CANARY, STABLE
from tests.system.watch import COVERED, PLAIN, Answer, Watch, failures, p99

SHARED = {"shop": {"policy": "keep", "affinity": "shared"}}
HIGH, LOW = "50%", "20%"
OPENING = 0.025
"""Seconds that the store may add to an answer until the circuit opens (issue 3)."""
MOVED = 0.01
"""Share of known users who may move."""
NEW = -1
"""Number of whoever is seen for the first time."""


def user(number: int) -> str:
    return f"known {number}"


class Familiar(Watch):
    """Asks each worker as one known user after the other, and now and then as somebody new."""

    async def _look(self, port: int) -> None:
        async with Pool(port, 1) as pool:
            known = crowd(pool, self._visitors)
            for turn in itertools.count():
                number = turn % self._visitors
                await self._ask(port, number, known[number], COVERED)
                if turn % 8 == 0:
                    fresh = AsyncVisitor(pool, {"X-User": fresh_user(port, turn)})
                    await self._ask(port, NEW - turn, fresh, COVERED)
                if turn % 2 == 0:
                    await self._ask(port, number, known[number], PLAIN)


def fresh_user(port: int, turn: int) -> str:
    return f"new {port} {turn}"


def crowd(pool: Pool, count: int) -> dict[int, AsyncVisitor]:
    made = {}
    for number in range(count):
        made[number] = AsyncVisitor(pool, {"X-User": user(number)})
        made[number].cookies = Jarless()
    return made


@dataclass
class Known:
    """Users of a rig, and what they got before anything happened."""

    rig: Rig
    versions: dict[int, str]

    def share_of(self, some: set[int]) -> float:
        return len(some) / len(self.versions)

    def moved(self, answers: Iterable[Answer]) -> set[int]:
        """Who got another version than before."""
        return {
            a.visitor for a in answers
            if a.path == COVERED and a.visitor > NEW and a.version != self.versions[a.visitor]
        }  # fmt: skip


def acquainted(rig: Rig, workers: Sequence[Worker], count: int) -> Known:
    """All of them are claimed at the high weight; then it is lowered, and every worker sees all."""
    rig.started(parse_weight(HIGH))
    rig.all_follow(CANARY)
    people = crowd(Pool(0, 0), count)
    asyncio.run(versions(workers[0].port, people))
    found = asyncio.run(versions(workers[0].port, people))
    verbs.weight(rig.store(), "shop", parse_weight(LOW), by="test")
    time.sleep(1.0)
    for worker in workers:
        knows = partial(_knows, worker, people, found)
        wait_until(knows, timeout=20, every=1.2, what="each worker knows them all")
    held = {n for n, version in found.items() if version == CANARY and not below(rig, user(n))}
    assert len(held) > 0.15 * count, "many are where only their claim holds them"
    return Known(rig, found)


def _knows(worker: Worker, people: dict[int, AsyncVisitor], found: dict[int, str]) -> bool:
    # More than once where a busy machine kept the store's answer from coming in time.
    return asyncio.run(versions(worker.port, people)) == found


def below(rig: Rig, who: str) -> bool:
    """Whether the bucket alone would give the canary, at the low weight."""
    key = lane_key(BUCKET_SECRET.encode(), rig.setup.namespace, "shop", CANARY)
    return draw(key, IDENTIFIED, who) < threshold(parse_weight(LOW))


@dataclass
class Outage:
    """When it was, in monotonic seconds, and what was seen of it."""

    known: Known
    watch: Watch
    begun: float
    over: float

    def check(self, row: str, *workers: Worker) -> None:
        """Print the figures of these workers (all by default), then hold them to the limits."""
        workers = workers or tuple(self.known.rig.workers)
        ports = [worker.port for worker in workers]
        answers = [answer for answer in self.watch.answers if answer.port in ports]
        failed, moved, new = failures(answers), self.known.moved(answers), self.new(answers)
        opening, after = self.opening(ports), self.after(ports)
        print(
            f"\n{row}: lost and 5xx+ {len(failed)} of {len(answers)} (limit 0), "
            f"{len(moved)} of {len(self.known.versions)} known users moved (limit 1 %), "
            f"p99+ {1000 * opening:.1f} ms while the circuit opens (limit 25), "
            f"{1000 * after:.1f} ms after (limit 5), {len(new)} new users during it"
        )
        assert failed == [], "no request fails"
        assert self.known.share_of(moved) <= MOVED, "who is known stays"
        assert after <= ADDED, "no request waits once the circuit is open"
        assert opening <= OPENING, "no request waits longer than the budget"
        assert new, "new users came"
        assert [a for a in new if not self.by_bucket(a)] == [], "who is new is served by bucket"

    def new(self, answers: Iterable[Answer]) -> list[Answer]:
        """Answers to whoever came for the first time, while nobody could be asked about him."""
        begun, over = self.begun + 0.1, self.over
        return [
            a for a in answers if begun <= a.sent < over and a.visitor <= NEW and a.path == COVERED
        ]

    def by_bucket(self, answer: Answer) -> bool:
        who = fresh_user(answer.port, NEW - answer.visitor)
        return answer.version == (CANARY if below(self.known.rig, who) else STABLE)

    def opening(self, ports: Iterable[int]) -> float:
        """Seconds added to the p99 in the first second.

        Of the best worker: what a budget lets through it lets through everywhere, a stall of the
        machine in this one second hits one of them.
        """
        return min(self._added(self.begun, port) for port in ports)

    def after(self, ports: Iterable[int]) -> float:
        """Seconds added to the p99 later on, as :meth:`tests.system.outage.Seen.added`."""
        seconds = range(1, max(2, int(self.over - self.begun)))
        return max(
            statistics.median_low(self._added(self.begun + second, port) for second in seconds)
            for port in ports
        )

    def _added(self, since: float, port: int) -> float:
        part = [a for a in self.watch.between(since, since + 1) if a.port == port]
        assert part, "no request waits longer than the budget"
        return p99(part) - p99(part, PLAIN)


def outage(
    known: Known, server: RedisServer, fault: Fault, seconds: float, every: float = 0.003
) -> Outage:
    """Watch the users before, during and after an outage of the store."""
    ports = [worker.port for worker in known.rig.workers]
    with Familiar(ports, every=every, visitors=len(known.versions)) as watch:
        time.sleep(0.5)
        begun = time.monotonic()
        with fault(server):
            time.sleep(seconds)
        over = time.monotonic()
        time.sleep(FOLLOW + 0.5)
    return Outage(known, watch, begun, over)


class Newcomers(Watch):
    """Nobody but new users, some at a time."""

    async def _look(self, port: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._visitors):
                group.create_task(self._come(port, number))

    async def _come(self, port: int, number: int) -> None:
        async with Pool(port, 1) as pool:
            for turn in itertools.count(1):
                name = {"X-User": f"new {port} {number} {turn}"}
                await self._ask(port, NEW - turn, AsyncVisitor(pool, name), COVERED)
                if turn % 2 == 0:
                    await self._ask(port, NEW - turn, AsyncVisitor(pool, name), PLAIN)


def newcomers(rig: Rig, server: RedisServer, fault: Fault, seconds: float) -> None:
    """Once the circuit is open, none of them waits for a store that is too slow."""
    ports = [worker.port for worker in rig.workers]
    with Newcomers(ports, every=0.02, visitors=6) as watch:
        time.sleep(0.5)
        begun = time.monotonic()
        with fault(server):
            time.sleep(seconds)
        over = time.monotonic()
        time.sleep(0.5)
    after = watch.between(begun + 1.0, over)
    added = p99(after) - p99(after, PLAIN)
    assert failures(watch.answers) == []
    print(f"\nR4, new users only: p99+ {1000 * added:.1f} ms of {len(after)} (limit 5)")
    assert added <= ADDED, "no request is spent on trying"
