"""Rows of FAULTS.md section 2 that are no plain outage; each asserts its limits and tells figures.

``tests/system/test_rows.py`` runs them for some seconds, ``tests/faults`` for as long as they say.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.clients import AsyncVisitor, Pool, Visitor
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.crowd import AT_ONCE, versions
from tests.system.outage import Seen, outage
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY, STABLE
from tests.system.watch import Watch, canaries, failures

STATE = "canary:{rows}:state"
CHANNEL = "canary:{rows}:push"


def flips(seen: Seen) -> int:
    """Visitors of one worker who saw two versions."""
    return sum(len(versions) > 1 for versions in seen.versions(seen.answers).values())


def rss(worker: Worker) -> int:
    """Bytes of memory that a worker uses."""
    pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")


def heard_since(worker: Worker, struck: float) -> bool:
    return worker.heard()[-1:] > [struck]


def resources(worker: Worker) -> tuple[int, int]:
    """Threads and open files of a worker."""
    process = Path(f"/proc/{worker.process.pid}")
    return len(list((process / "task").iterdir())), len(list((process / "fd").iterdir()))


# --- what the store forgets or mangles ----------------------------------------------------------


def r10(rig: Rig, server: RedisServer) -> str:
    """FLUSHALL at 20 %: the state is held and published again, once."""
    rig.started(parse_weight("20%"))
    workers = rig.serve("uvicorn", "gunicorn", "uvicorn", "gunicorn")
    rig.all_follow(CANARY)

    @contextmanager
    def flushed(server: RedisServer) -> Iterator[None]:
        with server.client() as client:
            client.flushall()
            yield

    found = outage(rig, server, flushed, seconds=2.0)
    moved = sum(flips(found.of(worker)) for worker in workers)
    assert moved == 0
    assert failures(found.watch.answers) == []
    restores = [a for a in rig.store().history(None, 50) if a.action == "restore"]
    assert len(restores) == 1, "one writer"
    late = time.time() - time.monotonic() + found.begun
    return f"R10: flips {moved} (limit 0), restored by 1 in {restores[0].at - late:.2f} s (limit 5)"


GARBAGE: tuple[tuple[str, Any], ...] = (
    ("body", b'{"rollouts":'), ("body", b"\xff\xfe\x00"), ("body", b"null"), ("body", b"[]"),
    ("body", b'{"lifted":{},"rollouts":{"shop":{"current":NaN}}}'),
    ("weight", b"1e308"), ("weight", b"-1"), ("weight", b"NaN"), ("schema", b"99"),
    ("body", b"x" * 64 * 1024 * 1024), ("revision", b"-1"), ("revision", b"1e308"),
    ("lineage", b"\nEVIL"), ("kill:*", b"NaN"), ("kill:*", b"\x80\x04."),
)  # fmt: skip


def spoil(client: redis.Redis, field: str, value: Any, good: dict[str, str]) -> None:
    """Put garbage in the place of a field of the state, or of a value inside of its body."""
    if field in good or field.startswith("kill:"):
        client.hset(STATE, field, value)
        return
    body, count = re.subn(rf'"{field}":[0-9]+', f'"{field}":{value.decode()}', good["body"])
    assert count or field == "schema"
    client.hset(STATE, "body", body if count else body.replace("{", '{"schema":99,', 1))


def r12(rig: Rig, server: RedisServer) -> str:
    """Garbage in the state: refused as a whole, the last good one serves, told once."""
    rig.started(parse_weight("20%"))
    (worker,) = rig.serve("uvicorn")
    rig.all_follow(CANARY)
    before, grown = rss(worker), 0
    with Watch([worker.port], every=0.003) as watch, server.client() as client:
        for field, value in GARBAGE:
            good = client.hgetall(STATE)
            spoil(client, field, value, good)
            time.sleep(1.0)
            grown = max(grown, rss(worker) - before)
            client.delete(STATE)
            client.hset(STATE, mapping=good)
            time.sleep(1.0)
        client.delete(STATE)
        client.set(STATE, "wrong type")
        time.sleep(1.0)
        client.delete(STATE)
    worst = max(answer.seconds for answer in watch.answers)
    changed = {a.version for a in watch.answers if a.visitor == 0 and a.version} - {CANARY}
    assert changed == set(), "the last good state serves"
    assert failures(watch.answers) == []
    assert grown <= 2 * 64 * 1024 * 1024
    told = worker.process.output().count("state: degraded")
    assert told <= len(GARBAGE) + 1
    return (
        f"R12: {len(GARBAGE) + 1} kinds of garbage, memory + {grown / 2**20:.1f} MB (limit 128), "
        f"slowest answer {1000 * worst:.0f} ms, told {told} times"
    )


# --- pushes -------------------------------------------------------------------------------------


def r13(rig: Rig, server: RedisServer, kills: int) -> str:
    """Subscribers are thrown out all the time; polling closes the gap."""
    rig.started(100_000)
    workers = rig.serve("uvicorn", "gunicorn", "uvicorn", "gunicorn")
    late: list[float] = []
    with server.client() as client:
        for number in range(kills):
            rig.all_follow(CANARY)
            for _ in range(1 + number % 3):
                client.client_kill_filter(_type="pubsub")
                time.sleep(0.3)
            client.client_kill_filter(_type="pubsub")
            struck = time.monotonic()
            verbs.kill(rig.store(), by="R13")
            for worker in workers:
                wait_until(partial(heard_since, worker, struck), what="the kill is heard")
                late.append(worker.heard()[-1] - struck)
            verbs.revive(rig.store(), by="R13")
    assert max(late) <= 3.0
    assert sorted(late)[int(0.99 * (len(late) - 1))] <= 2.0
    return f"R13: {len(late)} hearings without pushes, worst {max(late):.2f} s (limit 3, 99 % 2)"


def r14(rig: Rig, server: RedisServer) -> str:
    """Old pushes come again, twice and in the wrong order: the highest revision wins."""
    rig.started(100_000)
    workers = rig.serve("uvicorn", "gunicorn")
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
    assert document is not None
    assert "*" in document.kills
    assert canaries(watch.answers) == [], "no old push lifts the kill"
    return (
        f"R14: {len(pushed) * 3 - 2} old pushes, 0 canary answers of {len(watch.answers)} (limit 0)"
    )


# --- workers and time ---------------------------------------------------------------------------


def w4(rig: Rig, visitors: int) -> str:
    """Workers whose clocks are wrong by up to an hour agree about everybody."""
    rig.started(50_000)
    shifts = (0.0, 60.0, -60.0, 600.0, -600.0, 3600.0, -3600.0)
    workers = [rig.serve("uvicorn", wall_shift=shift)[0] for shift in shifts]
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


def w7(rig: Rig) -> str:
    """Fork after construction: each child of ``--preload`` hears the kill."""
    rig.started(100_000)
    (worker,) = rig.serve("preloading gunicorn")
    rig.all_follow(CANARY)
    wait_until(lambda: len(processes(worker)) == 2, what="both children begin")
    struck = time.monotonic()
    rig.cli("kill")
    wait_until(lambda: len(worker.heard()) == 2, what="both children hear")
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


def w11(rig: Rig) -> str:
    """The canary's own application fails to start: its arm is closed, stable serves."""
    rig.started(100_000)
    (worker,) = rig.serve("uvicorn", target=True)
    with Watch([worker.port]) as watch:
        time.sleep(1.0)
    assert failures(watch.answers) == []
    assert {a.reason for a in watch.answers if a.reason} == {"not_ready"}
    assert "no database" in worker.process.output()
    assert worker.process.running
    return f"W11: 5xx+ 0 of {len(watch.answers)} (limit 0), arm closed: not_ready"
