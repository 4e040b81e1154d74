"""R12 of FAULTS.md: garbage in every key of the store, and in what is pushed.

Whatever stands there, it is refused as a whole; the last good state serves, and it is told once.
Only the plain kill keys know no garbage: their presence is a kill, whatever is in them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.support.redis import RedisServer
from tests.system.rig import Rig, Worker
from tests.system.site import CANARY, STABLE
from tests.system.watch import Watch, canaries, failures

KEY = "canary:{rows}:"
STATE = f"{KEY}state"
HUGE = b"x" * 64 * 1024 * 1024
BLOCKED = 0.050
"""Seconds for which garbage may block an event loop."""
TRIES = 4
"""A stall of the machine may hit one try; what garbage does, it does each time."""


@dataclass(frozen=True)
class Garbage:
    """Something in a place where it does not belong.

    Args:
        place: last part of a key; ``push`` for the channel.
        field: of the state, or a value in its body; empty where the whole key is replaced.
    """

    place: str
    field: str
    value: bytes

    def put(self, client: redis.Redis) -> None:
        key = KEY + self.place
        if self.place == "push":
            client.publish(key, self.value)
        elif self.field:
            self._put_into_state(client)
        else:
            replace(client, key, self.value)

    def _put_into_state(self, client: redis.Redis) -> None:
        good: Any = client.hgetall(STATE)
        if self.field in good or self.field.startswith("kill:"):
            client.hset(STATE, self.field, self.value)
            return
        text = f'"{self.field}":{self.value.decode()}'
        body, count = re.subn(rf'"{self.field}":[0-9]+', text, good["body"])
        assert count or self.field == "schema"
        client.hset(STATE, "body", body if count else body.replace("{", f"{{{text},", 1))


def replace(client: redis.Redis, key: str, value: bytes) -> None:
    """Something else in a key; ``set`` is one, of the wrong type for any key."""
    client.delete(key)
    if value == b"set":
        client.sadd(key, "member")
    else:
        client.set(key, value)


IN_THE_STATE = tuple(
    Garbage("state", field, value)
    for field, value in (
        ("weight", b"NaN"), ("body", HUGE), ("body", b'{"rollouts":'), ("body", b"\xff\xfe\x00"),
        ("body", b"null"), ("body", b"[]"), ("weight", b"1e308"), ("weight", b"-1"),
        ("body", b'{"lifted":{},"rollouts":{"shop":{"current":NaN}}}'), ("schema", b"99"),
        ("revision", b"-1"), ("revision", b"1e308"), ("revision", b"NaN"), ("lineage", b"\nEVIL"),
        ("kill:*", b"NaN"), ("kill:*", b"\x80\x04."), ("kill:*", HUGE), ("kill:\xff", b"{}"),
    )
)  # fmt: skip
DOCUMENT = (
    b'{"schema":%s,"lineage":"a","revision":%s,"kills":{},"body":{"lifted":{},"rollouts":{}}}'
)
WHOLE = (
    b"set", b'{"rollouts":', b"\xff\xfe\x00", HUGE, b"NaN", b"-1", b"1e308",
    DOCUMENT % (b"99", b"9"), DOCUMENT % (b"1", b"NaN"), DOCUMENT % (b"1", b"1e308"),
    DOCUMENT % (b"1", b"-1"),
)  # fmt: skip
ELSEWHERE = tuple(
    Garbage(place, "", value)
    for place in ("state", "audit", "processes", "heard", "push")
    for value in WHOLE
    if (place, value) != ("push", b"set")
)
ALL = IN_THE_STATE + ELSEWHERE
SOME = (*IN_THE_STATE[:2], Garbage("push", "", b"\xff\xfe\x00"))


def r12(rig: Rig, server: RedisServer, kinds: Sequence[Garbage], variant: str = "") -> str:
    """Each kind of garbage for a second, and the good state again."""
    rig.started(20_000)
    (worker,) = rig.serve("uvicorn", variant=variant)
    rig.all_follow(CANARY)
    before, grown, worst = rss(worker), 0, 0.0
    with Watch([worker.port], every=0.003) as watch, server.client() as client:
        for kind in kinds:
            worst = max(worst, blocked(watch, client, kind))
            grown = max(grown, rss(worker) - before)
    assert {a.version for a in watch.answers if a.visitor == 0 and a.version} == {CANARY}
    assert failures(watch.answers) == []
    assert grown <= 2 * len(HUGE)
    told = worker.process.output().count("state: degraded")
    assert told <= TRIES * len(kinds)
    return (
        f"R12: {len(kinds)} kinds of garbage, memory + {grown / 2**20:.1f} MB (limit 128), "
        f"an answer took at most {1000 * worst:.0f} ms (limit 50), told {told} times"
    )


def blocked(watch: Watch, client: redis.Redis, kind: Garbage) -> float:
    """Seconds that the slowest answer took while there was garbage of a kind, at its best."""
    slowest = []
    for _ in range(TRIES):
        began = time.monotonic()
        with replaced(client, kind):
            time.sleep(1.0)
        answers = watch.between(began)
        assert {a.version for a in answers if a.visitor == 0} == {CANARY}, (
            f"the last good state serves beside {kind.place} {kind.field} {kind.value[:20]!r}"
        )
        slowest.append(max(answer.seconds for answer in answers))
        if slowest[-1] <= BLOCKED:
            break
    assert min(slowest) <= BLOCKED, f"{kind.place} {kind.field} {kind.value[:20]!r} blocks"
    return min(slowest)


@contextmanager
def replaced(client: redis.Redis, kind: Garbage) -> Iterator[None]:
    """Garbage in a place while the block runs; afterwards the state is as it was, and read."""
    good: Any = client.hgetall(STATE)
    kind.put(client)
    yield
    if kind.place == "state":
        client.delete(STATE)
        client.hset(STATE, mapping=good)
        time.sleep(0.9)  # longer than a look at the store takes to come


def kill_keys(rig: Rig, server: RedisServer) -> str:
    """Whatever is in a plain kill key, it kills, and the removal of the key lifts nothing."""
    rig.started(20_000)
    (worker,) = rig.serve("uvicorn")
    with server.client() as client:
        for key in (f"{KEY}kill", "canary:rows:kill"):
            for value in WHOLE:
                rig.all_follow(CANARY)
                replace(client, key, value)
                rig.all_follow(STABLE)
                client.delete(key)
                with Watch([worker.port]) as watch:
                    time.sleep(1.0)
                assert canaries(watch.answers) == []
                rig.cli("revive", "--yes")
    return f"R12: {2 * len(WHOLE)} kinds of garbage in the plain kill keys, 0 canary answers"


def rss(worker: Worker) -> int:
    """Bytes of memory that a worker uses."""
    pages = Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")
