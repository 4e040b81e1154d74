"""Deliberately broken variants: each check of the system tests is shown to fail one of them.

A worker gets the name of its variant from its setup. A variant is a wrong configuration, a wrong
handler, or a part of the agent exchanged for one that lacks the rule under test.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from canary_middleware import Assignment, Canary, Cohort, Rescue, current
from canary_middleware.agent import Agent
from canary_middleware.core.model import Reason
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.errors import StoreError
from canary_middleware.stores import Loaded

__all__ = ["CHOOSERS", "POLLS", "RESCUES", "current", "spoil"]

PLAIN_RANDOM = "a plain-random cohort: each request is drawn anew"
TESTERS_PASS = "testers pass the kill switch"
NO_POLL = "an agent without poll: it trusts in pushes"
SUPERSEDES_POSTS = "a kill supersedes POSTs too"
EVERYBODY_DRAWS = "every request without a cookie draws a visitor"
CREDULOUS = "a follower that lets an empty store lift the kill"
LEFT_BEHIND = "an agent started at import, which a fork leaves behind"
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


class Credulous:
    """A store whose silence is taken for a word: what it does not say is killed, is lifted."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._last: Document | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def load(self) -> Loaded:
        loaded: Loaded = self._store.load()
        self._last = document = loaded.document or self._last
        if document is None or (loaded.document and document.kills):
            return loaded
        newer, lifted = document.revision + 1, {EVERYTHING: 10**9}
        document = replace(document, revision=newer, kills={}, lifted=lifted)
        return replace(loaded, document=document)


def spoil(variant: str, canary: Canary) -> None:
    """Exchange what a variant does differently inside of the package's own parts."""
    if variant == CREDULOUS:
        store: Any = Credulous(canary.store)
        canary.agent = Agent(canary.engine, store, namespace=canary.namespace)
    if variant == LEFT_BEHIND:
        canary.arrive_blocking()
        os.register_at_fork(after_in_child=partial(setattr, canary, "awake", True))


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
            if scope["type"] == "http" and scope["path"].startswith("/shop"):
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
