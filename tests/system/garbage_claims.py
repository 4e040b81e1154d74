"""S22 and R12 where the store keeps claims: what somebody writes there who should not.

Whatever it is, no request fails and nobody else moves; the worst that a claim in the right form can
do is to put its own subject on another side.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from canary_middleware.core.bucket import IDENTIFIED, SPACE, draw, lane_key, threshold
from canary_middleware.core.claims import claim_key
from canary_middleware.core.weight import parse_weight
from tests.support.clients import AsyncVisitor, Pool, Visitor
from tests.support.redis import RedisServer
from tests.system.crowd import versions
from tests.system.rig import Rig, Worker
from tests.system.site import BUCKET_SECRET, CANARY, STABLE
from tests.system.watch import Watch, failures

SHARED = {"shop": {"policy": "keep", "affinity": "shared"}}
HUGE = b"1:" + b"a" * (32 * 1024 * 1024)
BYSTANDERS = 30
EITHER = frozenset({STABLE, CANARY})


@dataclass(frozen=True)
class Present:
    """What a hostile writer can read in the store, too."""

    lineage: str
    epoch: int
    period: int

    def claim(self, **changes: object) -> bytes:
        parts = {
            "schema": 1, "lineage": self.lineage, "epoch": self.epoch, "period": self.period,
            "side": "c", "bucket": SPACE - 1, **changes,
        }  # fmt: skip
        return ":".join(map(str, parts.values())).encode()


def nonsense(now: Present) -> Mapping[str, bytes]:
    """What is no claim; it counts as absent."""
    return {
        "empty": b"",
        "text": b"hello",
        "bytes": b"\xff\xfe\x00\x01",
        "huge": HUGE,
        "pickle": pickle.dumps({"cohort": "canary"}),
        "JSON": b'{"cohort":"c","bucket":0}',
        "cut": now.claim()[:-20],
        "too long": now.claim() + b"0" * 200,
        "two lines": now.claim() + b"\n",
        "NaN": now.claim(bucket="NaN"),
        "infinite": now.claim(bucket="1e308"),
        "negative": now.claim(bucket=-1),
        "hexadecimal": now.claim(epoch="0x1"),
        "beyond all buckets": now.claim(bucket=SPACE),
        "beyond all numbers": now.claim(epoch=2**53),
        "far beyond": now.claim(period=10**16 - 1),
        "no side": now.claim(side="x"),
        "another schema": now.claim(schema=2),
        "another language": now.claim(lineage="\u00e4"),
        "capitals": now.claim(lineage=now.lineage.upper() + "ABCDEF"),
        "an endless lineage": now.claim(lineage="a" * 65),
    }


def in_form(now: Present) -> Mapping[str, bytes]:
    """Claims as ours are, which say something else about their one subject."""
    return {
        "moved": now.claim(),
        "zeros": now.claim(epoch=f"{now.epoch:016}"),
        "of a far period": now.claim(period=2**53 - 1),
        "of another lineage": now.claim(lineage="ab" * 8),
        "of the past": now.claim(epoch=0),
        "of the future": now.claim(epoch=now.epoch + 1),
        "of the end of time": now.claim(epoch=2**53 - 1),
        "of the other lineage's future": now.claim(lineage="f" * 64, epoch=2**53 - 1),
    }


def wrong_types() -> Mapping[str, Callable[[redis.Redis, str], Any]]:
    return {
        "set": lambda client, key: client.sadd(key, "member"),
        "list": lambda client, key: client.rpush(key, "1", "2"),
        "hash": lambda client, key: client.hset(key, "1", "2"),
        "sorted set": lambda client, key: client.zadd(key, {"1": 2}),
        "stream": lambda client, key: client.xadd(key, {"1": "2"}),
    }


class Hostile:
    """Somebody who can write to the store, and a site that goes on.

    Args:
        rig: with workers.
        server: theirs.
    """

    def __init__(self, rig: Rig, server: RedisServer) -> None:
        self.rig = rig
        rig.started(parse_weight("50%"))
        rig.all_follow(CANARY)
        document = rig.store().load().document
        entry = document.entry("shop", CANARY) if document else None
        assert document is not None
        assert entry is not None
        self.now = Present(document.lineage, entry.epoch, entry.period)
        self._client = server.client()
        self._lane = lane_key(BUCKET_SECRET.encode(), rig.setup.namespace, "shop", CANARY)

    def key(self, user: str) -> str:
        tag = f"canary:{{{self.rig.setup.namespace}}}"
        return f"{tag}:pin:shop:{claim_key(self._lane, IDENTIFIED, user)}"

    def own(self, user: str) -> str:
        """Where the user's own bucket puts him."""
        below = draw(self._lane, IDENTIFIED, user) < threshold(parse_weight("50%"))
        return CANARY if below else STABLE

    def seen(self, user: str) -> set[str]:
        """The versions that he gets, of all workers."""
        return {ask(worker, user) for worker in self.rig.workers}

    def write(self, name: str, value: bytes) -> str:
        """Something under the key of a user whom nobody has seen yet."""
        user = f"victim of {name}"
        self._client.set(self.key(user), value)
        return user

    def absent(self) -> int:
        """What is no claim is none."""
        tried = 0
        for name, value in nonsense(self.now).items():
            user = self.write(name, value)
            assert self.seen(user) == {self.own(user)}, f"{name} counts as absent"
            tried += 1
        for name, put in wrong_types().items():
            user = f"victim of a {name}"
            put(self._client, self.key(user))
            assert self.seen(user) == {self.own(user)}, f"{name} counts as absent"
            tried += 1
        return tried

    def in_form(self) -> int:
        """One subject is moved, or is on stable until the event comes that the claim names."""
        found = {}
        for name, value in in_form(self.now).items():
            seen = self.seen(self.write(name, value))
            assert len(seen) == 1, "all workers agree"
            assert seen <= EITHER
            found[name] = seen.pop()
        # The bucket in these claims is the last of all, so that only a claim of now is canary.
        expected = dict.fromkeys(found, STABLE)
        expected |= dict.fromkeys(("moved", "zeros", "of a far period"), CANARY)
        assert found == expected, "what a claim of each kind can do"
        return len(found)

    def pushed(self) -> int:
        """Garbage on the channel of revocations."""
        channel = f"canary:{{{self.rig.setup.namespace}}}:forget"
        some = [b"", b"hello", b"\xff", HUGE, b"null", b'{"rollout":1}', b'{"rollout":"shop"}',
                b'{"rollout":"shop","keys":"' + b"x" * 1000 + b'"}', pickle.dumps(1)]  # fmt: skip
        for data in some:
            self._client.publish(channel, data)
        time.sleep(0.5)
        return len(some)


def ask(worker: Worker, user: str) -> str:
    with Visitor(worker.port, headers={"X-User": user}) as visitor:
        answer = visitor.get("/shop/")
    assert answer.status == 200, "no request fails"
    return str(json.loads(answer.body)["version"])


def s22(rig: Rig, server: RedisServer) -> str:
    """All of it, while others go on."""
    hostile = Hostile(rig, server)
    crowd = {n: AsyncVisitor(Pool(0, 0), {"X-User": f"bystander {n}"}) for n in range(BYSTANDERS)}
    before = asyncio.run(versions(rig.workers[0].port, crowd))
    with Watch((worker.port for worker in rig.workers), every=0.01) as watch:
        absent, formed, pushed = hostile.absent(), hostile.in_form(), hostile.pushed()
    assert failures(watch.answers) == [], "no request fails"
    assert {a.version for a in watch.answers if a.visitor == 0 and a.version} == {CANARY}
    for worker in rig.workers:
        found = asyncio.run(versions(worker.port, crowd))
        assert found == before, "nobody else moves"
        assert "Traceback" not in worker.process.output()
    return (
        f"S22: {absent} kinds of garbage in claims count as absent, {formed} in the right form "
        f"move one subject at most, {pushed} pushes of garbage; 0 of {len(watch.answers)} requests "
        f"failed (limit 0), 0 of {BYSTANDERS} others moved (limit 0)"
    )
