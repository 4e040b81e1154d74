"""What leaves a process about its visitors, how much of it, and what the bare package does.

FAULTS.md section 3: S9, S11, S25, S26 and S30.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE, draw, lane_key
from tests.support.clients import IMAGE, Visitor
from tests.support.otlp import Receiver
from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system import strangers, variants
from tests.system.oracle import Draw, alike, secret_draw, uniform
from tests.system.rig import ROOT, Rig
from tests.system.site import CANARY
from tests.system.strangers import total

ALICE = "alice@example.com+5f0e9c1b7a"
BARE = """
import sys

def watch(event, arguments):
    assert event not in ("socket.__new__", "socket.connect", "_thread.start_new_thread"), event

sys.addaudithook(watch)
from canary_middleware import Canary, Rollout
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.wsgi import CanaryMiddleware as Wsgi
rollout = Rollout("shop", stable="1", canary="2")
async def asgi(scope, receive, send): ...
def wsgi(environ, start_response): ...
for store in sys.argv[1:]:
    canary = Canary(rollout, namespace="bare", store=store, secret_keys=["k" * 32])
    CanaryMiddleware(asgi, canary)
    Wsgi(wsgi, canary)
print("quiet")
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
def watched(tmp_path: Path, redis_server: RedisServer, receiver: Receiver) -> Iterator[Rig]:
    with strangers.watched(tmp_path, redis_server, receiver) as made:
        yield made


def spellings(secret: str) -> set[str]:
    """All that a careless program could make of an identity without a key.

    Of a hash the beginning, for it may be cut; keys also hash an identity behind its kind.
    """
    found = set()
    for raw in (secret.encode(), f"s:{secret}".encode()):
        found |= {raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
        hashes = [hashlib.new(name, raw).digest() for name in ("sha1", "sha256", "sha512", "md5")]
        hashes += [hashlib.blake2b(raw, digest_size=size).digest() for size in (8, 16, 32, 64)]
        for digest in hashes:
            found |= {digest.hex()[:16], base64.b64encode(digest).decode()[:11]}
            found.add(base64.urlsafe_b64encode(digest).decode()[:11])
    return {spelling.rstrip("=").lower() for spelling in (secret, *found)}


def leaks(text: str, secret: str = ALICE) -> list[str]:
    return [spelling for spelling in spellings(secret) if spelling in text.lower()]


def everything_in(server: RedisServer) -> str:
    """All keys and values as Redis itself would dump them, undone of compression by type."""
    # Points of charts are no text.
    with redis.Redis.from_url(
        server.url, socket_timeout=5, decode_responses=True, encoding_errors="backslashreplace"
    ) as client:
        texts = []
        for key in client.scan_iter():
            kind = client.type(key)
            read = {"hash": client.hgetall, "string": client.get, "zset": client.zscan_iter}
            value = client.lrange(key, 0, -1) if kind == "list" else read[kind](key)
            texts.append(f"{key} {list(value) if kind == 'zset' else value}")
    return "\n".join(texts)


def test_s9_no_output_names_a_visitor(
    watched: Rig, receiver: Receiver, redis_server: RedisServer
) -> None:
    (worker,) = watched.workers
    answers = []
    with Visitor(worker.port, headers={"X-User": ALICE}) as visitor:
        answers += [visitor.get("/shop/"), visitor.get("/shop/later"), visitor.post("/shop/order")]
        answers.append(visitor.request("POST", "/shop/?raise=1"))
        answers += [visitor.request("GET", "/shop/", with_cookies=False) for _ in range(2)]
    with Visitor(worker.port) as visitor:  # signs in later
        visitor.get("/shop/")
        answers.append(visitor.request("GET", "/shop/", headers={"X-User": ALICE}))
        assert len(visitor.cookies.lines) == 2
    watched.cli("kill", "--why", "so that everything is written once more")
    wait_until(lambda: len(receiver.received.spans) >= 8, what="spans arrived")
    wait_until(lambda: bool(receiver.received.latest("canary.requests")), what="metrics arrived")
    time.sleep(1.0)
    outputs = {
        "answers": "\n".join(f"{answer.headers} {answer.text}" for answer in answers),
        "cookies": str(visitor.cookies),
        "spans": str(receiver.received.spans),
        "metrics": str(receiver.received.points),
        "log": worker.process.output(),
        "store": everything_in(redis_server),
        "disk": (watched.directory / "snapshots" / "leaks.json").read_text(),
        "history": watched.cli("history") + watched.cli("status"),
    }
    assert all(outputs.values()), "there was something to search in everything"
    print(f"\nS9: {sum(map(len, outputs.values()))} characters searched, 0 hits (limit 0)")
    assert {name: leaks(text) for name, text in outputs.items() if leaks(text)} == {}


def test_s9_the_check_fails_for_a_plain_hash_of_the_identity() -> None:
    """The variants: whoever writes the identity as it is, in base64, or hashed without a key."""
    raw = ALICE.encode()
    for careless in (ALICE, base64.b64encode(raw).decode(), raw.hex().upper()):
        assert leaks(f"user={careless} did something")
    for digest in (hashlib.sha1(raw), hashlib.sha256(raw), hashlib.md5(raw)):
        assert leaks(f"user:{digest.hexdigest()}")


def test_s11_series_do_not_grow_with_what_strangers_send(watched: Rig, receiver: Receiver) -> None:
    print(f"\n{strangers.ask(watched, receiver, 1_500)}")


def test_s11_the_check_fails_for_telemetry_that_counts_by_path(
    watched: Rig, receiver: Receiver
) -> None:
    (worker,) = watched.workers
    worker.renew(variant=variants.COUNTS_BY_PATH)
    watched.all_follow(CANARY)
    with pytest.raises(AssertionError, match="strangers make no series"):
        strangers.ask(watched, receiver, 150)


def test_a_request_that_may_not_draw_is_no_outcome(watched: Rig, receiver: Receiver) -> None:
    (worker,) = watched.workers
    time.sleep(1.0)  # what came before is exported
    before = total(receiver)
    with Visitor(worker.port) as visitor:
        for _ in range(20):
            part = visitor.request("GET", "/shop/part", fetch=IMAGE, with_cookies=False)
            assert (part.status, part.all("Set-Cookie")) == (200, [])
        for _ in range(3):
            visitor.get("/shop/")
    time.sleep(1.0)
    assert total(receiver) - before == 3
    durations = receiver.received.totals_by_version("canary.request.duration")
    assert sum(durations.values()) == total(receiver)


def test_s25_buckets_of_sequential_ids_are_uniform_and_need_the_secret() -> None:
    print(f"\n{uniform(secret_draw(), 200_000)}")
    other = lane_key(b"x" * 32, "leaks", "shop", CANARY)
    assert abs(alike(secret_draw(), partial(draw, other, IDENTIFIED)) - 0.82) < 0.01, "0.9² + 0.1²"


@pytest.mark.parametrize(
    "guessable",
    [
        pytest.param(lambda subject: int(subject) * 2**33 % SPACE, id="the number of the user"),
        pytest.param(lambda subject: zlib.crc32(subject.encode()) << 21, id="a CRC"),
        pytest.param(lambda subject: zlib.adler32(subject.encode()) << 21, id="a checksum"),
    ],
)
def test_s25_the_check_fails_for_a_place_that_needs_no_secret(guessable: Draw) -> None:
    assert alike(guessable, guessable) == 1.0, "who knows how it is made, knows everybody's place"
    with pytest.raises(AssertionError, match="as uneven as chance"):
        uniform(guessable, 20_000)


def test_s26_the_first_of_one_rollout_are_not_the_first_of_another() -> None:
    shop, blog = (lane_key(b"", "leaks", name, CANARY) for name in ("shop", "blog"))
    first = [n for n in range(200_000) if draw(shop, ANONYMOUS, str(n)) < SPACE // 10]
    both = sum(draw(blog, ANONYMOUS, str(n)) < SPACE // 10 for n in first)
    print(f"\nS26: overlap of two rollouts {both / len(first):.2%} (limit 10 +- 0.5 %)")
    assert abs(both / len(first) - 0.10) < 0.005
    same = lane_key(b"", "leaks", "shop", CANARY)
    overlap = sum(draw(same, ANONYMOUS, str(n)) < SPACE // 10 for n in first)
    assert overlap == len(first), "the variant: one salt for all rollouts"


def test_s30_import_and_construction_open_no_socket_and_start_no_thread() -> None:
    stores = ["memory://", "redis://127.0.0.1:1/0"]
    command = [sys.executable, "-c", BARE, *stores]
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert (answer.stdout, answer.stderr) == ("quiet\n", "")
    command[2] = BARE.replace("print(", "canary.arrive_blocking(); print(")
    answer = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert "AssertionError" in answer.stderr, "the variant: an agent that is started at import"
