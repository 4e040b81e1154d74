"""A kill while everybody is being claimed for the first time.

Clients stand in groups of as many as there are workers: a group asks for the same user at the same
time, each of them another worker, and goes on to the next user, so that claims are always racing.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from canary_middleware import verbs
from canary_middleware.core.bucket import IDENTIFIED, draw, lane_key, threshold
from canary_middleware.core.claims import claim_key
from canary_middleware.core.weight import parse_weight
from canary_middleware.stores.redis import RedisStore
from tests.support.clients import NO_METADATA, AsyncVisitor, Pool
from tests.support.servers import wait_until
from tests.system.policies import look
from tests.system.rig import Rig, Worker
from tests.system.site import BUCKET_SECRET, CANARY

CLIENTS = 200
TEN = "10%"


@dataclass
class Race:
    """What was answered.

    Attributes:
        workers: who answers.
        label: what the users of this race are named after.
        answers: number of the worker, user, and body.
        broken: requests that failed.
    """

    workers: Sequence[Worker]
    label: str
    answers: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self, strike: Any) -> None:
        """Race, and call ``strike`` meanwhile."""
        thread = threading.Thread(target=lambda: asyncio.run(self._race()), daemon=True)
        thread.start()
        try:
            strike()
        finally:
            self._over.set()
            thread.join()

    async def _race(self) -> None:
        groups = CLIENTS // len(self.workers)
        async with AsyncExitStack() as stack:
            pools = [
                await stack.enter_async_context(Pool(worker.port, groups))
                for worker in self.workers
            ]
            async with asyncio.TaskGroup() as clients:
                for number in range(groups):
                    clients.create_task(self._group(number, pools))

    async def _group(self, number: int, pools: Sequence[Pool]) -> None:
        turn = 0
        while not self._over.is_set():
            user = f"{self.label} {number} {turn}"
            turn += 1
            asked = (self._ask(at, pool, user) for at, pool in enumerate(pools))
            await asyncio.gather(*asked)

    async def _ask(self, at: int, pool: Pool, user: str) -> None:
        visitor = AsyncVisitor(pool, {"X-User": user})
        try:
            response = await visitor.get("/shop/", NO_METADATA)
        except OSError as error:
            self.broken.append(repr(error))
            return
        if response.status == 200:
            self.answers.append((at, user, json.loads(response.body)))
        else:
            self.broken.append(f"status {response.status}")

    def users(self) -> set[str]:
        return {user for _, user, _ in self.answers}


def raced(rig: Rig, label: str, rng: random.Random) -> tuple[Race, float]:
    """Kill at some instant of a race, and go on for as long again."""
    race = Race(rig.workers, label)
    struck = 0.0

    def strike() -> None:
        nonlocal struck
        wait_until(partial(_on_canary, race), timeout=10, what="the race has begun")
        time.sleep(0.4 + 0.4 * rng.random())
        struck = time.monotonic()
        verbs.kill(rig.store(), by="race")
        for worker in rig.workers:
            wait_until(partial(_heard_since, worker, struck), timeout=5, what="the kill is heard")
        time.sleep(0.3)

    race.run(strike)
    return race, struck


def _on_canary(race: Race) -> bool:
    return any(body["version"] == CANARY for _, _, body in race.answers)


def _heard_since(worker: Worker, struck: float) -> bool:
    return worker.heard()[-1:] > [struck]


def killed_while_racing(rig: Rig, policy: str, rng: random.Random, *, again: bool = False) -> str:
    """One race under a policy: what is answered after the kill, and what is left of its claims."""
    plan = {"shop": {"policy": policy, "affinity": "shared"}}
    rig.setup = replace(rig.setup, plans=plan)
    before = rig.started(parse_weight("50%"), again=again)
    rig.all_follow(CANARY)
    race, struck = raced(rig, f"{policy}{rng.random()}", rng)
    assert race.broken == []
    in_time = after_the_kill(race, struck)
    old = claims(rig, race.users())
    verbs.revive(rig.store(), by="race")
    now = verbs.weight(rig.store(), "shop", parse_weight(TEN), by="race")
    for worker in rig.workers:
        wait_until(partial(_follows, rig, worker, now.revision), what="the revival is heard")
    decide_no_more(rig, race.users())
    entry = now.entry("shop", CANARY)
    assert entry is not None
    fresh = claims(rig, race.users())
    assert {claim.epoch for claim in fresh.values()} == {entry.epoch}, "no old claim is left"
    verbs.rollback(rig.store(), "shop", by="race")
    return (
        f"{policy}: {len(race.users())} users raced, {in_time} canary answers before the kill, "
        f"0 after it was heard (limit 0); {len(old)} claims of revision {before.revision} left, "
        f"0 of them decide after the revival (limit 0)"
    )


def after_the_kill(race: Race, struck: float) -> int:
    """Nobody is dispatched to the canary any more; returns how many were before."""
    heard = [min(at for at in worker.heard() if at > struck) for worker in race.workers]
    canaries = [(at, body["at"]) for at, _, body in race.answers if body["version"] == CANARY]
    late = [(at, when) for at, when in canaries if when > heard[at]]
    assert late == [], "whoever is dispatched after the worker heard gets stable"
    assert any(body["at"] > heard[at] for at, _, body in race.answers), "the race went on"
    assert canaries, "some were in time"
    return len(canaries)


def decide_no_more(rig: Rig, users: Iterable[str]) -> None:
    """At 10 % everybody is where the bucket says, not where the race had put him."""
    people = dict(enumerate(sorted(users)))
    nowhere = Pool(0, 0)
    crowd = {n: AsyncVisitor(nowhere, {"X-User": user}) for n, user in people.items()}
    found = asyncio.run(look(rig.front().port, {"shop": crowd}))["shop"]
    limit, place = threshold(parse_weight(TEN)), partial(draw, _key(rig), IDENTIFIED)
    wrong = [n for n, user in people.items() if (found[n] == CANARY) != (place(user) < limit)]
    assert wrong == [], "no claim of an old epoch decides"


def claims(rig: Rig, users: Iterable[str]) -> dict[str, Any]:
    """What the store holds of these users."""
    keys = {claim_key(_key(rig), IDENTIFIED, user): user for user in users}
    store = rig.store()
    assert isinstance(store, RedisStore)
    return {keys[one.key]: one.claim for one in store.claims("shop") if one.key in keys}


def _key(rig: Rig) -> bytes:
    return lane_key(BUCKET_SECRET.encode(), rig.setup.namespace, "shop", CANARY)


def _follows(rig: Rig, worker: Worker, revision: int) -> bool:
    found = [p.revision for p in rig.store().processes() if p.pid in pids(worker)]
    return bool(found) and min(found) >= revision


def pids(worker: Worker) -> set[int]:
    """A server and its children."""
    task = Path(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children")
    return {worker.process.pid, *map(int, task.read_text().split())}
