"""A site for forgers: an ASGI and a WSGI worker, and cookies as they go there and come back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from canary_middleware import verbs
from canary_middleware.core.weight import parse_weight
from tests.support.clients import NAVIGATION, Response, Visitor
from tests.support.redis import RedisServer
from tests.system import tokens
from tests.system.rig import Rig, Worker, follow
from tests.system.site import CANARY

NAME = "canary-safe"
SIZE = 69
"""Characters of an anonymous cookie."""
OTHER_KEY = "another-key-of-these-tests-is-long-enough"
BOTH = ("shop", "blog")

signed = partial(tokens.signed, namespace="safe")


@contextmanager
def safe(directory: Path) -> Iterator[Rig]:
    """Both workers know users, and half of the visitors are on canary."""
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, "safe", identified=True) as made,
    ):
        for app in BOTH:
            made.started(50_000, app)
        made.serve("uvicorn", "gunicorn", apps=BOTH)
        made.all_follow(CANARY)
        yield made


def ask(worker: Worker, cookie: str = "", user: str = "", path: str = "/shop/") -> Response:
    headers = {name: value for name, value in (("Cookie", cookie), ("X-User", user)) if value}
    with Visitor(worker.port) as visitor:
        return visitor.request("GET", path, fetch=NAVIGATION, headers=headers)


def version(response: Response) -> str:
    assert response.status == 200
    return str(json.loads(response.body)["version"])


def value(response: Response) -> str:
    """The value of the cookie that was set."""
    return (response.header("Set-Cookie") or "").partition("=")[2].partition(";")[0]


def genuine(rig: Rig) -> str:
    found = value(ask(rig.workers[0]))
    assert len(found) == SIZE
    return found


@contextmanager
def at(rig: Rig, weight: str) -> Iterator[None]:
    """Another weight than 50 % while the block runs."""
    verbs.weight(rig.store(), "shop", parse_weight(weight), by="test")
    time.sleep(1.0)
    yield
    verbs.weight(rig.store(), "shop", parse_weight("50%"), by="test")
    time.sleep(1.0)


@contextmanager
def spoiled(rig: Rig, variant: str = "", **setup: object) -> Iterator[Worker]:
    """One more ASGI worker, which is broken or set up otherwise."""
    (worker,) = rig.serve("uvicorn", apps=BOTH, variant=variant, **setup)
    rig.workers.remove(worker)
    follow([worker], CANARY, within=5.0)
    yield worker
    worker.kill()
