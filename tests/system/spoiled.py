"""What broken variants are made of: parts that lack one property each; :mod:`.variants` names them.

Wrappers stand around the middleware, stores between it and the real one; both undo what it does.
"""

from __future__ import annotations

import hashlib
import logging
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import itsdangerous
import redis
from opentelemetry.metrics import get_meter
from redis.backoff import NoBackoff
from redis.retry import Retry

from canary_middleware import Canary
from canary_middleware.core.model import Assignment
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.errors import StoreError
from canary_middleware.stores import Loaded
from canary_middleware.stores.redis import RedisStore
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.spans import TracedVisit

logger = logging.getLogger("tests.system.spoiled")

Headers = dict[bytes, bytes]

LIFTED = {EVERYTHING: 10**9}
"""Says of every kill there may ever be that it is lifted."""


# --- stores -------------------------------------------------------------------------------------


class Between:
    """A store that passes everything on."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


class Loyal(redis.ConnectionPool):
    """Connections that stay where they are, whatever was said there."""

    def disconnect(self, inuse_connections: bool = True) -> None:
        if inuse_connections:
            super().disconnect()


def loyal(url: str, namespace: str) -> RedisStore:
    """A store that never looks for another master."""
    pool = Loyal.from_url(url, socket_timeout=0.5, retry=Retry(NoBackoff(), 0), protocol=2)
    return RedisStore.from_client(redis.Redis.from_pool(pool), namespace)


class Obedient(Between):
    """A store whose word counts, also where it is older than what was heard before."""

    last: Document | None = None

    def load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        told, last = loaded.document, self.last
        if told and last and told != last and told.revision <= last.revision:
            lifted = {} if told.kills else LIFTED
            told = replace(told, revision=last.revision + 1, lifted=lifted)
        self.last = told or last
        return replace(loaded, document=told)

    @contextmanager
    def listen(self) -> Iterator[Obedient]:
        with self.store.listen() as self.pushes:
            yield self

    def receive(self, timeout: float) -> Document | None:
        document: Document | None = self.pushes.receive(timeout)
        self.last = document or self.last
        return document


class Credulous(Between):
    """A store whose silence is taken for a word: what it does not say is killed, is lifted."""

    last: Document | None = None

    def load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        self.last = document = loaded.document or self.last
        if document is None or (loaded.document and document.kills):
            return loaded
        document = replace(document, revision=document.revision + 1, kills={}, lifted=LIFTED)
        return replace(loaded, document=document)


class Gullible(Between):
    """A store in which nothing, or nothing readable, is taken for a state: nothing is started."""

    def load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        return Loaded(loaded.document or Document("0"), loaded.kill_key)


class Stubborn(Between):
    """A store that is asked again and again until it answers."""

    def load(self) -> Loaded:
        for _ in range(10):
            with suppress(StoreError):
                return self._load()
        return self._load()

    def _load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        return loaded


class InStep(Between):
    """A store that all processes, once they have lost it, try again at each full second."""

    lost = False

    def load(self) -> Loaded:
        while self.lost:
            time.sleep(1.0 - time.time() % 1.0)
            with suppress(StoreError):
                return self._loaded()
        self.lost = True
        return self._loaded()

    def _loaded(self) -> Loaded:
        loaded: Loaded = self.store.load()
        self.lost = False
        return loaded


class LastWord(Between):
    """A store whose pushes are followed in the order in which they come, whatever their number."""

    last: Document | None = None
    pushes: Any = None

    def load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        return loaded if self.last is None else replace(loaded, document=self.last)

    @contextmanager
    def listen(self) -> Iterator[LastWord]:
        with self.store.listen() as self.pushes:
            yield self

    def receive(self, timeout: float) -> Document | None:
        document: Document | None = self.pushes.receive(timeout)
        if document is not None:
            newer = (self.last.revision if self.last else 10**6) + 1
            lifted = {} if document.kills else LIFTED
            document = self.last = replace(document, revision=newer, lifted=lifted)
        return document


class Timeless(Between):
    """A store in whose word no event has an epoch of its own, so that none voids a pin."""

    pushes: Any = None

    def load(self) -> Loaded:
        loaded: Loaded = self.store.load()
        return replace(loaded, document=loaded.document and timeless(loaded.document))

    @contextmanager
    def listen(self) -> Iterator[Timeless]:
        with self.store.listen() as self.pushes:
            yield self

    def receive(self, timeout: float) -> Any:
        pushed = self.pushes.receive(timeout)
        return timeless(pushed) if isinstance(pushed, Document) else pushed


def timeless(document: Document) -> Document:
    rollouts = {
        name: replace(
            state, entries={label: replace(e, epoch=1) for label, e in state.entries.items()}
        )
        for name, state in document.rollouts.items()
    }
    return replace(document, rollouts=rollouts)


# --- telemetry ----------------------------------------------------------------------------------


class CountsByPath(Telemetry):
    """Counts by something that strangers choose."""

    def __init__(self) -> None:
        super().__init__()
        self._paths = get_meter("tests").create_counter("canary.paths")

    def finished(
        self, visit: TracedVisit, booked: Iterable[Assignment], kind: OutcomeClass, seconds: float
    ) -> None:
        super().finished(visit, booked, kind, seconds)
        self._paths.add(1, {"url.path": visit.view.native["path"]})


# --- wrappers of ASGI applications --------------------------------------------------------------


class Around:
    """A wrapper that changes nothing."""

    def __init__(self, app: Any, canary: Canary) -> None:
        self.app = app
        self.canary = canary

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": list(self.headers(dict(scope["headers"])).items())}
        await self.app(scope, receive, send)

    def headers(self, sent: Headers) -> Headers:
        return sent


class WithoutMetadata(Around):
    """Every request without a cookie draws a visitor."""

    def headers(self, sent: Headers) -> Headers:
        return {name: sent[name] for name in sent if not name.startswith(b"sec-fetch")}


class Believing(Around):
    """Whoever claims in a header to belong to the canary is let in."""

    def headers(self, sent: Headers) -> Headers:
        if b"x-canary" in sent:
            (tester,) = self.canary.engine.rollouts[0].testers.subjects
            sent[b"x-user"] = tester.encode()
        return sent


class CookieFirst(Around):
    """Whoever has a cookie is not asked any more who he is."""

    def headers(self, sent: Headers) -> Headers:
        if b"cookie" in sent:
            sent.pop(b"x-user", None)
        return sent


class Forgetful(Around):
    """Nobody's cookie is looked at."""

    def headers(self, sent: Headers) -> Headers:
        sent.pop(b"cookie", None)
        return sent


class Punctual(Around):
    """A cookie that was issued a minute from now, before or after, is thrown away."""

    def headers(self, sent: Headers) -> Headers:
        fields = sent.get(b"cookie", b"").split(b".")
        now = self.canary.engine.settings.wall()
        if len(fields) > 2 and abs(int(fields[2], 36) - now) > 60:
            del sent[b"cookie"]
        return sent


class Leaking(Around):
    """The signature is compared character by character, in code slow enough to be seen from afar.

    Two hashes of a kilobyte for each: a tenth of a millisecond for a whole signature.
    """

    def headers(self, sent: Headers) -> Headers:
        body, _, given = sent.get(b"cookie", b"").partition(b"=")[2].rpartition(b".")
        for right, character in zip(self._signature(body), given, strict=False):
            if right != character:
                break
            hashlib.sha256(hashlib.sha256(bytes(1_000)).digest() + bytes(1_000)).digest()
        return sent

    def _signature(self, body: bytes) -> bytes:
        settings = self.canary.engine.settings
        salt = f"canary_middleware.visitor.{settings.namespace}"
        return itsdangerous.Signer(
            list(settings.keys), salt, key_derivation="hmac", digest_method=hashlib.sha256
        ).get_signature(body)


class Logging(Around):
    """What was asked for goes into the log as it is."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        logger.warning("asked for %s", scope.get("path"))
        await self.app(scope, receive, send)


class Asking(Around):
    """The store is asked on each request."""

    closes = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/shop"):
            try:
                self.canary.store.load()
            except StoreError:
                if self.closes:
                    await answer(send, 503)
                    return
        await self.app(scope, receive, send)


class Closed(Asking):
    """Without its store it answers 503."""

    closes = True


class Talkative(Around):
    """An error is shown to whoever caused it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        except RuntimeError:
            await answer(send, 500, traceback.format_exc().encode())


class Pretending:
    """A target whose start is never looked at."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})


async def answer(send: Any, status: int, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})
