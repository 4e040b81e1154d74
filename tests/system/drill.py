"""Kill and revive again and again, at random instants, under load and with difficult workers."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from canary_middleware.core.state import EVERYTHING
from tests.support.clients import NO_METADATA, AsyncVisitor, Pool
from tests.support.servers import wait_until
from tests.system.rig import Rig, Worker, start
from tests.system.site import CANARY, TESTER

CLIENTS = 24
LIMITS = {"busy": 5.0, "stopped": 3.0}
"""Seconds in which a worker has to hear, where it is not one; a stopped one after it goes on."""


def limit(name: str) -> float:
    return LIMITS.get(name, 1.0)


@dataclass
class Cycle:
    """One kill.

    Attributes:
        struck: monotonic time at which the command line struck it.
        resumed: monotonic time at which the stopped worker went on.
        lifted: monotonic time before which nobody can have heard of the revival.
        late: seconds until each worker heard.
    """

    struck: float
    resumed: float
    lifted: float = 0.0
    late: dict[str, float] = field(default_factory=dict)


class Load:
    """Clients that go on asking all workers: pages that take up to 3 s, orders, event streams.

    A third of them are testers, the others keep a cookie with which half of them are on canary.

    Attributes:
        answers: name of the worker and body of each answer.
        orders: ids of orders that were answered.
        broken: requests that failed.
    """

    def __init__(self, workers: dict[str, Worker], seed: int, posts: float) -> None:
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.orders: list[str] = []
        self.broken: list[str] = []
        self._workers = workers
        self._seed = seed
        self._posts = posts
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            pools = {
                name: await stack.enter_async_context(Pool(worker.port, CLIENTS))
                for name, worker in self._workers.items()
            }
            async with asyncio.TaskGroup() as group:
                for number in range(CLIENTS):
                    group.create_task(self._client(number, pools))

    async def _client(self, number: int, pools: dict[str, Pool]) -> None:
        rng = random.Random(self._seed + number)
        headers = {"X-User": TESTER} if number % 3 == 0 else {}
        visitor = AsyncVisitor(next(iter(pools.values())), headers)
        sent = 0
        while not self._over.is_set():
            name = rng.choice(list(pools))
            visitor.pool = pools[name]
            sent += 1
            try:
                await self._ask(visitor, rng, name, f"order-{number}-{sent}")
            except OSError as error:
                self.broken.append(f"{name}: {error!r}")

    async def _ask(self, visitor: AsyncVisitor, rng: random.Random, name: str, order: str) -> None:
        kind, wait = rng.random(), rng.choice((0.0, rng.uniform(0.0, 3.0)))
        if kind < self._posts:
            path = f"/shop/orders?order={order}&wait={wait}"
            response = await visitor.request("POST", path, fetch=NO_METADATA)
            self.orders.append(order)
        elif kind < self._posts + 0.1:
            response = await visitor.get("/shop/events?events=5&wait=0.2", NO_METADATA)
        else:
            response = await visitor.get(f"/shop/?wait={wait}", NO_METADATA)
        if response.status != 200:
            self.broken.append(f"{name}: status {response.status}")
            return
        first = response.text.removeprefix("data: ").split("\n", 1)[0]
        self.answers.append((name, json.loads(first)))


class Drill:
    """Some cycles of kill and revive.

    Args:
        rig: with workers that are to hear.
        workers: by name; ``busy`` and ``stopped`` are special.
        seed: of the random instants.
        posts: share of orders among the requests.
    """

    def __init__(
        self, rig: Rig, workers: dict[str, Worker], seed: int = 20_240_229, posts: float = 0.2
    ) -> None:
        self.cycles: list[Cycle] = []
        self.load = Load(workers, seed, posts)
        self._rig = rig
        self._workers = workers
        self._store = rig.store()
        self._random = random.Random(seed)

    def run(self, cycles: int) -> Self:
        with self.load:
            for _ in range(cycles):
                self._rig.all_follow(CANARY, within=15)
                time.sleep(self._random.uniform(0.0, 1.0))
                self._cycle()
        return self

    def _cycle(self) -> None:
        stopped = self._workers.get("stopped")
        if stopped:
            stopped.process.pause()
        try:
            self._rig.cli("kill", "--why", "drill")
        finally:
            if stopped:
                time.sleep(self._random.uniform(0.1, 1.0))
                stopped.process.resume()
        cycle = Cycle(self._struck(), time.monotonic())
        self.cycles.append(cycle)
        for name, worker in self._workers.items():
            heard = partial(_has_heard, worker, cycle.struck)
            wait_until(heard, timeout=2 + limit(name), what=f"{name} hears the kill")
            cycle.late[name] = _heard(worker, cycle.struck)[0] - (
                cycle.resumed if name == "stopped" else cycle.struck
            )
        time.sleep(self._random.uniform(0.2, 0.7))
        cycle.lifted = time.monotonic()
        self._rig.cli("revive", "--yes")

    def _struck(self) -> float:
        document = self._store.load().document
        assert document is not None
        return document.kills[EVERYTHING].at - (time.time() - time.monotonic())

    # --- verdict --------------------------------------------------------------------------------

    def check(self) -> None:
        assert self.load.broken == []
        late = [
            f"{name} heard after {seconds:.2f} s"
            for cycle in self.cycles
            for name, seconds in cycle.late.items()
            if seconds > limit(name)
        ]
        assert late == []
        assert self.wrong() == [], "whoever is dispatched after the worker heard gets stable"
        self.check_orders()

    def wrong(self) -> list[str]:
        """Canary answers that were dispatched while their worker knew of a kill."""
        return [
            f"{name}: {body} between {heard} and {lifted}"
            for name, body in self.load.answers
            for heard, lifted in self._windows(name)
            if body["version"] == CANARY and heard < body["at"] < lifted
        ]

    def _windows(self, name: str) -> list[tuple[float, float]]:
        def since(cycle: Cycle) -> float:
            return cycle.late[name] + (cycle.resumed if name == "stopped" else cycle.struck)

        return [(since(cycle), cycle.lifted) for cycle in self.cycles]

    def check_orders(self) -> None:
        executed = Counter(Path(self._rig.setup.orders or "").read_text().split())
        twice = {order: times for order, times in executed.items() if times > 1}
        assert twice == {}, "an order was executed more than once"
        assert executed.keys() == set(self.load.orders)

    def figures(self) -> str:
        """One line for the report."""
        worst = {name: max(cycle.late[name] for cycle in self.cycles) for name in self._workers}
        heard = ", ".join(f"{name} {1000 * late:.0f} ms" for name, late in worst.items())
        answers = Counter(body["version"] for _, body in self.load.answers)
        return (
            f"kill: {len(self.cycles)} cycles, "
            f"{answers.total()} answers, {answers[CANARY]} canary, "
            f"{len(self.wrong())} dispatched after the kill was heard (limit 0), "
            f"{len(self.load.orders)} orders, heard at worst after: {heard}"
        )


def _heard(worker: Worker, struck: float) -> list[float]:
    # A millisecond, because one of the two times is read off the wall clock.
    return [at for at in worker.heard() if at >= struck - 0.001]


def _has_heard(worker: Worker, struck: float) -> bool:
    return bool(_heard(worker, struck))


def difficult(rig: Rig) -> dict[str, Worker]:
    """One worker of each kind that has a hard time, started."""
    made = {
        "uvicorn": rig.worker("uvicorn"),
        "gunicorn": rig.worker("gunicorn"),
        "busy": rig.worker("uvicorn", busy=True),
        "deaf": rig.worker("waitress", store=rig.muted()),
        "stopped": rig.worker("uvicorn"),
    }
    start(made.values())
    return made


def names(workers: Sequence[Worker]) -> dict[str, Worker]:
    return {f"{number} {worker.server}": worker for number, worker in enumerate(workers)}
