"""S11 of FAULTS.md: requests as outsiders make them, in which nothing is bounded."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.clients import NAVIGATION, AsyncVisitor, Pool
from tests.support.otlp import Receiver
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.crowd import AT_ONCE
from tests.system.rig import Rig
from tests.system.site import CANARY


@contextmanager
def watched(directory: Path, server: RedisServer, receiver: Receiver) -> Iterator[Rig]:
    """One worker that logs everything and exports spans and metrics; half are on canary."""
    snapshots = str(directory / "snapshots")
    with Rig(
        directory, server.url, "leaks", identified=True, loud=True, otlp=receiver.url,
        snapshot_path=snapshots,
    ) as made:  # fmt: skip
        made.started(50_000)
        made.serve("uvicorn h11")  # the other parser takes known methods only
        made.all_follow(CANARY)
        yield made


def ask(watched: Rig, receiver: Receiver, count: int) -> str:
    """That many requests, each with another path, host, method, agent and user."""
    (worker,) = watched.workers
    settled(receiver)
    before = total(receiver)
    statuses = asyncio.run(asked(worker.port, count))
    assert statuses == {200: count}, f"all are answered: {statuses}"
    wait_until(lambda: total(receiver) - before >= count, timeout=20, what="all are counted")
    assert total(receiver) - before == count, "every request is counted, once"
    names = {p.name for p in receiver.received.points if p.name.startswith("canary.")}
    series = {name: len(receiver.received.latest(name)) for name in sorted(names)}
    assert sum(series.values()) <= 100, "strangers make no series"
    return f"S11: {count} strange requests counted exactly; series {series} (limit 100)"


async def asked(port: int, count: int) -> Counter[int]:
    """Statuses."""
    rng, statuses = random.Random(11), Counter[int]()
    numbers = iter(range(count))

    def word() -> str:
        return f"{rng.getrandbits(48):x}"

    async def one_after_another(pool: Pool) -> None:
        for _ in numbers:
            headers = {"Host": f"{word()}.example", "User-Agent": word(), "X-User": word()}
            method = rng.choice(["GET", "POST", "PUT", word().upper()])
            path = f"/shop/{word()}?{word()}={word()}"
            visitor = AsyncVisitor(pool)
            answer = await visitor.request(method, path, fetch=NAVIGATION, headers=headers)
            statuses[answer.status] += 1

    async with Pool(port, AT_ONCE) as pool, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another(pool))
    return statuses


def settled(receiver: Receiver) -> None:
    """Wait until what came before is exported: three exports in a row with the same number."""
    totals: list[int] = []

    def same() -> bool:
        totals.append(total(receiver))
        return len(totals) > 2 and len(set(totals[-3:])) == 1

    wait_until(same, every=0.4, what="everything is exported")


def total(receiver: Receiver) -> int:
    """Requests that were counted."""
    return int(sum(receiver.received.totals_by_version("canary.requests").values()))
