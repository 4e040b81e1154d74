"""How long until 8 processes heard of a kill ÷ until 8 plain redis-py listeners heard of a message.

In turns on one Redis and one host, whose monotonic clock all processes share. The time starts
before the sender's call, so that of the kill includes writing it with its audit entry.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

import redis

from benchmarks.measure import ratio_line
from benchmarks.request_asgi import rollout
from canary_middleware import verbs
from canary_middleware.core.state import Plan
from canary_middleware.stores import open_store
from tests.support.redis import RedisServer

PROCESSES = 8
ROUNDS = 150
WARM_UP = 10
PAUSE = 0.02
"""Seconds between rounds, so that every process sleeps again."""

Listener = subprocess.Popen[bytes]


@contextmanager
def listeners(kind: str, url: str, name: str) -> Iterator[Sequence[Listener]]:
    """``PROCESSES`` of one kind, ready to hear."""
    command = [sys.executable, "-m", "benchmarks.listeners", kind, url, name]
    with ExitStack() as stack:
        processes = []
        for _ in range(PROCESSES):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            stack.enter_context(process)
            stack.callback(process.kill)  # runs before the wait of `with process`
            processes.append(process)
        for process in processes:
            assert line(process) == "ready"
        yield processes


def line(process: Listener) -> str:
    """The next line; empty if the process ended."""
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def delays(processes: Sequence[Listener], send: Callable[[], object]) -> list[float]:
    """Seconds from the call of ``send`` to each process."""
    begun = time.monotonic()
    send()
    found = [float(line(process)) - begun for process in processes]
    time.sleep(PAUSE)
    return found


def measure(url: str) -> tuple[list[float], list[float]]:
    """Delays of kills and of plain messages, in turns."""
    kills: list[float] = []
    messages: list[float] = []
    channel = f"plain-{secrets.token_hex(4)}"
    namespace = f"bench-{secrets.token_hex(4)}"
    store = open_store(url, namespace)
    client = redis.Redis.from_url(url)
    verbs.start(store, "checkout", by="bench", plan=Plan.from_rollout(rollout()), weight=10_000)
    with (
        listeners("canary", url, namespace) as agents,
        listeners("plain", url, channel) as plain,
        client,
    ):
        for number in range(WARM_UP + ROUNDS):
            heard = delays(agents, lambda: verbs.kill(store, by="bench", why="benchmark"))
            verbs.revive(store, by="bench")
            time.sleep(PAUSE)
            message = delays(plain, lambda: client.publish(channel, "kill"))
            if number >= WARM_UP:
                kills += heard
                messages += message
    store.close()
    return kills, messages


def main() -> list[str]:
    """The two lines of the issue."""
    with TemporaryDirectory() as directory, RedisServer(Path(directory)) as server:
        kills, messages = measure(server.url)
    ours, plain = quantiles(kills, n=100), quantiles(messages, n=100)
    peer = "redis-py listener"
    return [
        ratio_line("kill heard by 8 processes, p50", ours[49], plain[49], 1, peer),
        ratio_line("kill heard by 8 processes, p99", ours[98], plain[98], 5, peer),
    ]


if __name__ == "__main__":
    print("\n".join(main()))
