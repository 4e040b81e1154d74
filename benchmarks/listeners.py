"""One listening process of :mod:`benchmarks.kill`: writes the monotonic time of whatever it hears.

``python -m benchmarks.listeners canary|plain URL NAME``. It ends with its standard input, so that
it never outlives whoever started it.
"""

from __future__ import annotations

import os
import sys
import time
from threading import Thread
from typing import Any

import redis

from benchmarks.request_asgi import KEY, rollout
from canary_middleware import Canary


def say(text: str) -> None:
    """One line in one write."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())


def heard() -> None:
    """Now."""
    say(repr(time.monotonic()))


def listen_as_canary(url: str, namespace: str) -> None:
    """A worker's agent; a kill counts as heard when requests see it."""
    canary = Canary(rollout(), store=url, namespace=namespace, secret_keys=[KEY], telemetry=False)
    canary.engine.on_kill(heard)
    canary.arrive_blocking()
    say("ready")
    sys.stdin.read()
    canary.stop()


def listen_plainly(url: str, channel: str) -> None:
    """What redis-py's documentation shows, and nothing else."""
    client: Any = redis.Redis.from_url(url)
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(channel)

    def follow() -> None:
        for _ in pubsub.listen():
            heard()

    Thread(target=follow, daemon=True).start()
    say("ready")
    sys.stdin.read()


if __name__ == "__main__":
    kind, url, name = sys.argv[1:]
    (listen_as_canary if kind == "canary" else listen_plainly)(url, name)
