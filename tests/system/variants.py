"""Deliberately broken variants: each check of the system tests is shown to fail one of them.

A worker gets the name of its variant from its setup. A variant is a wrong configuration, a wrong
handler, or a part of the agent exchanged for one that lacks the rule under test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from canary_middleware import Assignment, Canary, Cohort, Rescue, current
from canary_middleware.agent import Agent
from canary_middleware.core.model import Reason, Rollout
from canary_middleware.core.state import Document, Kill
from canary_middleware.engine.engine import Engine
from canary_middleware.errors import StoreError

__all__ = ["CHOOSERS", "POLLS", "RESCUES", "current", "spoil"]

PLAIN_RANDOM = "a plain-random cohort: each request is drawn anew"
TESTERS_PASS = "testers pass the kill switch"
NO_POLL = "an agent without poll: it trusts in pushes"
SUPERSEDES_POSTS = "a kill supersedes POSTs too"
EVERYBODY_DRAWS = "every request without a cookie draws a visitor"
FORGETFUL = "a follower that lets an empty store lift the kill"
ASKS_THE_STORE = "a middleware that asks the store on each request"
FAILS_CLOSED = "a middleware that answers 503 without its store"


def at_random(name: str) -> Assignment:
    found = current(name)
    if found.reason is Reason.NO_VISITOR:
        return found
    lucky = random.random() < 0.1
    version = "2.0" if lucky else "1.0"
    return replace(found, cohort=Cohort.CANARY if lucky else Cohort.STABLE, version=version)


def testers_first(name: str) -> Assignment:
    found = current(name)
    if found.reason is not Reason.KILL_SWITCH:
        return found
    return replace(found, cohort=Cohort.CANARY, version="2.0", reason=Reason.TESTER)


CHOOSERS: Final[Mapping[str, Callable[[str], Assignment]]] = {
    PLAIN_RANDOM: at_random,
    TESTERS_PASS: testers_first,
}
POLLS: Final[Mapping[str, float]] = {NO_POLL: 3600.0}
RESCUES: Final[Mapping[str, Rescue]] = {
    SUPERSEDES_POSTS: Rescue(methods=("GET", "HEAD", "OPTIONS", "POST")),
}


class Forgetful:
    """What an agent follows, without the memory of a kill that its rules rely on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.confirmed_at = engine.confirmed_at

    @property
    def rollouts(self) -> tuple[Rollout, ...]:
        return self._engine.rollouts

    @property
    def document(self) -> Document | None:
        held = self._engine.document
        return held and replace(held, kills={})

    @document.setter
    def document(self, _document: Document | None) -> None:
        raise AssertionError("the follower adopts, it does not assign")

    def adopt(self, document: Document | None, local_kill: Kill | None = None) -> None:
        self._engine.adopt(document, local_kill)

    def confirm(self, now: float) -> None:
        self._engine.confirm(now)


def spoil(variant: str, canary: Canary) -> None:
    """Exchange what a variant does differently inside of the package's own parts."""
    if variant == FORGETFUL:
        canary.agent = Agent(Forgetful(canary.engine), canary.store, namespace=canary.namespace)


def asgi(variant: str, app: Any, canary: Canary) -> Any:
    """An ASGI application with a broken middleware around it."""
    if variant == EVERYBODY_DRAWS:

        async def without_metadata(scope: Any, receive: Any, send: Any) -> None:
            if "headers" in scope:
                kept = [line for line in scope["headers"] if not line[0].startswith(b"sec-fetch")]
                scope = {**scope, "headers": kept}
            await app(scope, receive, send)

        return without_metadata
    if variant in (ASKS_THE_STORE, FAILS_CLOSED):

        async def asking(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                try:
                    canary.store.load()
                except StoreError:
                    if variant == FAILS_CLOSED:
                        await send({"type": "http.response.start", "status": 503, "headers": []})
                        await send({"type": "http.response.body", "body": b""})
                        return
            await app(scope, receive, send)

        return asking
    return app
