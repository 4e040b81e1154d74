"""Rows of FAULTS.md section 2 that are no plain outage; each asserts its limits and tells figures.

``tests/system/test_rows.py`` runs them for some seconds, ``tests/faults`` for as long as they say.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import redis

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.clients import AsyncVisitor, Pool, Visitor
from tests.support.redis import RedisServer
from tests.support.servers import Process, wait_until
from tests.system.crowd import AT_ONCE, versions
from tests.system.outage import Seen, flushed, outage
from tests.system.rig import Rig, Worker, start
from tests.system.site import CANARY, STABLE
from tests.system.watch import Watch, canaries, failures

CHANNEL = "canary:{rows}:push"


def flips(seen: Seen) -> int:
    """Visitors of one worker who saw two versions."""
    return sum(len(versions) > 1 for versions in seen.versions(seen.answers).values())


def heard_since(worker: Worker, struck: float) -> bool:
    return worker.heard()[-1:] > [struck]


def resources(worker: Worker) -> tuple[int, int]:
    """Threads and open files of a worker."""
    process = Path(f"/proc/{worker.process.pid}")
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


# --- what the store forgets -----------------------------------------------------------------------


def r10(
    rig: Rig, server: RedisServer, servers: Sequence[str], seconds: float, variant: str = ""
) -> str:
    """FLUSHALL at 20 %: the state is held and published again, once."""
    rig.started(parse_weight("20%"))
    workers = rig.serve(*servers, variant=variant)
    rig.all_follow(CANARY)
    found = outage(rig, server, flushed, seconds)
    moved = sum(flips(found.of(worker)) for worker in workers)
    assert moved == 0, "nobody moves"
    assert failures(found.watch.answers) == []
    restores = [a for a in rig.store().history(None, 50) if a.action == "restore"]
    assert len(restores) == 1, "one writer"
    late = restores[0].at - (time.time() - time.monotonic() + found.begun)
    return f"R10: flips {moved} (limit 0), restored by 1 in {late:.2f} s (limit 5)"


# --- pushes -------------------------------------------------------------------------------------


def r13(rig: Rig, server: RedisServer, kills: int, variant: str = "") -> str:
    """Half of the workers get no push at all, and all lose their subscriptions again and again."""
    rig.started(100_000)
    workers = rig.serve("uvicorn", "gunicorn")
    workers += rig.serve("gunicorn", "uvicorn", store=rig.muted(), variant=variant)
    late: list[float] = []
    with server.client() as client:
        for number in range(kills):
            rig.all_follow(CANARY)
            time.sleep(0.5)  # what subscribes asks once, and that is over now
            if number % 2:
                throw_out(client, times=1 + number % 3)
            struck = time.monotonic()
            verbs.kill(rig.store(), by="R13")
            for worker in workers:
                heard = partial(heard_since, worker, struck)
                wait_until(heard, timeout=4.0, what="the kill is heard")
                late.append(worker.heard()[-1] - struck)
            verbs.revive(rig.store(), by="R13")
    assert max(late) <= 3.0
    assert sorted(late)[int(0.99 * (len(late) - 1))] <= 2.0
    return f"R13: {len(late)} hearings without pushes, worst {max(late):.2f} s (limit 3, 99 % 2)"


def throw_out(client: redis.Redis, times: int) -> None:
    """End all subscriptions, the last time just now."""
    for _ in range(times):
        client.client_kill_filter(_type="pubsub")
        time.sleep(0.3)
    client.client_kill_filter(_type="pubsub")


def r14(rig: Rig, server: RedisServer, variant: str = "") -> str:
    """Old pushes come again, twice and in the wrong order: the highest revision wins."""
    rig.started(100_000)
    workers = rig.serve("uvicorn", "gunicorn", variant=variant)
    rig.all_follow(CANARY)
    store = rig.store()
    with server.client() as client, client.pubsub() as pubsub:
        pubsub.subscribe(CHANNEL)
        for weight in (1_000, 50_000, 0):
            verbs.weight(store, "shop", weight, by="R14")
        verbs.kill(store, by="R14")
        pushed = [m["data"] for m in iter(lambda: pubsub.get_message(timeout=0.5), None)
                  if m["type"] == "message"]  # fmt: skip
        assert len(pushed) == 4
        rig.all_follow(STABLE)
        with Watch(worker.port for worker in workers) as watch:
            for data in [*reversed(pushed), *pushed[:-1], *pushed[:-1]]:
                client.publish(CHANNEL, data)
            time.sleep(1.0)
        document = store.load().document
    assert canaries(watch.answers) == [], "no old push lifts the kill"
    assert document is not None
    assert "*" in document.kills
    return (
        f"R14: {len(pushed) * 3 - 2} old pushes, 0 canary answers of {len(watch.answers)} (limit 0)"
    )


# --- workers and time ---------------------------------------------------------------------------


SHIFTS = (0.0, 60.0, -60.0, 600.0, -600.0, 3600.0, -3600.0)


def w4(rig: Rig, visitors: int, shifts: tuple[float, ...] = SHIFTS, variant: str = "") -> str:
    """Workers whose clocks are wrong by up to an hour agree about everybody."""
    rig.started(50_000)
    workers = [rig.worker("uvicorn", wall_shift=shift, variant=variant) for shift in shifts]
    start(workers)
    rig.all_follow(CANARY)

    async def crowd() -> dict[int, AsyncVisitor]:
        async with Pool(workers[0].port, AT_ONCE) as pool:
            return {number: AsyncVisitor(pool) for number in range(visitors)}

    everybody = asyncio.run(crowd())
    known = asyncio.run(versions(workers[0].port, everybody))
    issued: dict[float, int] = {}
    for shift, worker in zip(shifts[1:], workers[1:], strict=True):
        before = sum(len(v.cookies.lines) for v in everybody.values())
        assert asyncio.run(versions(worker.port, everybody)) == known, f"flips at {shift} s"
        issued[shift] = sum(len(v.cookies.lines) for v in everybody.values()) - before
    assert issued[60.0] == issued[-60.0] == 0
    rig.cli("kill")
    heard = rig.all_follow(STABLE)
    return (
        f"W4: flips 0 of {visitors} at +-60 s, +-10 min, +-1 h (limit 0), killed in {heard:.1f} s"
    )


def w7(rig: Rig, variant: str = "") -> str:
    """Fork after construction: each child of ``--preload`` hears the kill."""
    rig.started(100_000)
    (worker,) = rig.serve("preloading gunicorn", variant=variant)
    rig.all_follow(CANARY)
    wait_until(lambda: len(processes(worker)) == 2, what="both children begin")
    struck = time.monotonic()
    rig.cli("kill")
    wait_until(lambda: len(worker.heard()) == 2, timeout=3.5, what="both children hear")
    late = max(worker.heard()) - struck
    assert late <= 3.0
    return f"W7: 2 of 2 children heard within {late:.2f} s of the command's start (limit 3)"


def processes(worker: Worker) -> set[int]:
    """Ids of the processes that answer at a worker's port."""
    found = set()
    for _ in range(20):
        with Visitor(worker.port) as visitor:
            found.add(json.loads(visitor.get("/shop/").body)["pid"])
    return found


def w11(rig: Rig, variant: str = "") -> str:
    """The canary's own application fails to start: its arm is closed, stable serves."""
    rig.started(100_000)
    (worker,) = rig.serve("uvicorn", target=True, variant=variant)
    with Watch([worker.port]) as watch:
        time.sleep(1.0)
    reasons = {answer.reason for answer in watch.answers if answer.reason}
    assert reasons == {"not_ready"}, "nobody gets to a canary that did not start"
    assert failures(watch.answers) == []
    assert "no database" in worker.process.output()
    assert worker.process.running
    return f"W11: 5xx+ 0 of {len(watch.answers)} (limit 0), arm closed: not_ready"


SPINNING = "while True: pass"


def w15(
    rig: Rig, kills: int, servers: Sequence[str] = ("uvicorn", "gunicorn"), **changes: Any
) -> str:
    """Every core of the machine is taken by something else, and the workers still obey."""
    rig.started(100_000)
    workers = rig.serve(*servers, **changes)
    rig.all_follow(CANARY)
    late: list[float] = []
    with ExitStack() as stack:
        for number in range(2 * (os.cpu_count() or 1)):
            log = rig.directory / f"spinning-{number}.log"
            stack.enter_context(Process([sys.executable, "-c", SPINNING], log))
        for _ in range(kills):
            struck = time.monotonic()
            verbs.kill(rig.store(), by="W15")
            for worker in workers:
                heard = partial(heard_since, worker, struck)
                wait_until(heard, timeout=6.0, what="the kill is heard")
                late.append(worker.heard()[-1] - struck)
            verbs.revive(rig.store(), by="W15")
            rig.all_follow(CANARY, within=15.0)
    assert max(late) <= 5.0
    return f"W15: {len(late)} hearings at 100 % CPU, worst {1000 * max(late):.0f} ms (limit 5 s)"
