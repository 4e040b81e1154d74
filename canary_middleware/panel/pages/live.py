"""Live pages: what changes on them is pushed to their viewers as server-sent events.

Nobody watches the store on behalf of viewers: each stream looks by itself, and they share what one
of them saw lately. So nobody looking means that nothing is asked, a slow reader misses what is old
and never what is new, and nothing is queued. Format: the HTML standard, section 9.2 (server-sent
events), https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from canary_middleware import verbs
from canary_middleware.core.series import slot_of
from canary_middleware.errors import CanaryError, StoreError
from canary_middleware.overview.gathering import Readings
from canary_middleware.panel.pages.looking import Look, look
from canary_middleware.panel.pages.parts import Parts, Topic, parts
from canary_middleware.panel.pages.plots import Charts
from canary_middleware.panel.pages.showing import filled, known, topic_of
from canary_middleware.panel.pages.trail import announced
from canary_middleware.panel.site import Site

STREAMS: Final = 32
"""Viewers at one time; further ones reload their pages."""
GLANCE: Final = 0.3
"""Seconds between two looks at the revision of the state."""
PERIOD: Final = 1.0
"""Seconds between two looks at the numbers."""
BEAT: Final = 5.0
"""Seconds of silence after which a stream says that it lives."""
LIFE: Final = 600.0
"""Seconds after which a stream ends and its page opens another one."""
_LINES: Final = 5
_FORGET: Final = 30.0
"""Seconds after which parts that nobody looks at are forgotten."""
_PAGES: Final = ("overview", "rollout", "processes")


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at one moment, by whoever looked.

    Attributes:
        at: monotonic seconds.
        look: see there; ``None`` before the store has answered.
        trouble: why it is older than it should be; ``""`` for nothing.
    """

    at: float
    look: Look | None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """Parts of a page.

    Attributes:
        look: that they were made from.
        parts: by name.
        drawn: the look that its charts were drawn from.
    """

    look: Look
    parts: Parts
    drawn: Look

    def charts(self, found: Look) -> str | None:
        """Those that were drawn, while there can be no new point in them."""
        same = self.drawn.revision == found.revision
        young = slot_of(self.drawn.at) == slot_of(found.at)
        return self.parts.get("charts") if same and young else None

    def is_of(self, found: Look) -> bool:
        """Whether somebody looked at it lately."""
        return found.at - self.look.at < _FORGET


class Watch:
    """A namespace, looked at as often as somebody wants to see it and not more often.

    Args:
        site: where.
        charts: reads those.
        clock: monotonic seconds.
    """

    def __init__(
        self, site: Site, charts: Charts, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.site, self._charts, self._clock = site, charts, clock
        self._lock: anyio.Lock | None = None
        self._readings = Readings()
        self._seen: Seen | None = None
        self._glanced = 0.0
        self._made: dict[Topic, Made] = {}

    async def seen(self) -> Seen:
        """The present state; it waits while another viewer is looking."""
        async with self._one_at_a_time():
            if self._seen is None or self._clock() - self._glanced >= GLANCE:
                self._seen = await self.site.ask(self._look, self._seen)
                self._glanced = self._clock()
            return self._seen

    async def parts(self, topic: Topic, found: Look) -> Parts:
        """Parts of a page; viewers of the same thing share them.

        Raises:
            CanaryError: the store does not answer, or nobody knows that rollout any more.
        """
        async with self._one_at_a_time():
            made = self._made.get(topic)
            if made is None or made.look is not found:
                known(found, topic)
                kept = made.charts(found) if made else None
                new = await self.site.ask(parts, self.site.store, self._charts, found, topic, kept)
                made = Made(found, new, made.drawn if made and kept else found)
                here = {other: one for other, one in self._made.items() if one.is_of(found)}
                self._made = {**here, topic: made}
            return made.parts

    def _one_at_a_time(self) -> anyio.Lock:
        if self._lock is None:  # a lock belongs to the event loop that made it
            self._lock = anyio.Lock()
        return self._lock

    def _look(self, before: Seen | None) -> Seen:
        now = self._clock()
        try:
            if before and before.look and not before.trouble and now - before.at < PERIOD:
                loaded = self.site.store.load()
                document = before.look.status.document
                same = (loaded.document and loaded.document.key) == (document and document.key)
                if same and loaded.kill_key == before.look.status.kill_key:
                    return before
            return Seen(now, look(self.site.store, self.site.namespace, self._readings))
        except StoreError as error:
            return Seen(now, before.look if before else None, str(error))


class _Stream(StreamingResponse):
    """Ends what it is made of when its reader leaves, and not when somebody tidies up."""

    def __init__(self, events: AsyncGenerator[str, None], headers: Mapping[str, str]) -> None:
        super().__init__(events, 200, headers, "text/event-stream")
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One answer."""
        async with aclosing(self._events):
            await super().__call__(scope, receive, send)


class Live:
    """The route of the streams."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._open = 0

    async def events(self, request: Request) -> Response:
        """One stream, for one page of one viewer."""
        given = request.query_params
        if given.get("page") not in _PAGES:
            return JSONResponse({"error": "page is overview, rollout or processes"}, 422)
        if self._open >= STREAMS:
            headers = {"Retry-After": "10"}
            return JSONResponse({"error": "too many viewers; reload"}, 503, headers)
        rollout = given.get("name", "") if given["page"] == "rollout" else ""
        topic = topic_of(request, given["page"], rollout, given.get("span", ""))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = self._stream(request, topic, _revision(given.get("seen", "")))
        return _Stream(stream, headers)

    async def _stream(self, request: Request, topic: Topic, seen: int) -> AsyncGenerator[str, None]:
        self._open += 1
        try:
            async for event in self._events(request, topic, seen):
                yield event
        finally:
            self._open -= 1

    async def _events(self, request: Request, topic: Topic, seen: int) -> AsyncIterator[str]:
        began = beat = time.monotonic()
        sent: Parts = {}
        told: dict[str, Any] = {}
        yield "retry: 1000\n\n"
        while time.monotonic() - began < LIFE and not _stopping():
            found = await self._watch.seen()
            message, sent, seen = await self._message(request, topic, found, sent, seen)
            now = time.monotonic()
            if (message and message != told) or now - beat >= BEAT:
                beat, told = now, message
                yield f"data: {json.dumps(message)}\n\n"
            await anyio.sleep(GLANCE)

    async def _message(
        self, request: Request, topic: Topic, found: Seen, sent: Parts, seen: int
    ) -> tuple[dict[str, Any], Parts, int]:
        if found.look is None or found.trouble:
            return {"trouble": f"The store does not answer: {found.trouble}"}, {}, seen
        try:
            made = await self._watch.parts(topic, found.look)
        except CanaryError as error:
            return {"trouble": str(error)}, {}, seen
        made = filled(made, request)
        changed = {name: part for name, part in made.items() if sent.get(name) != part}
        message: dict[str, Any] = {"parts": changed} if changed else {}
        if found.look.revision > seen:
            message["say"] = await self._said(topic, seen)
        return message, made, max(seen, found.look.revision)

    async def _said(self, topic: Topic, seen: int) -> str:
        """What a screen reader says: transitions, and no numbers."""
        scope = topic.name or None
        try:
            lines = await self._watch.site.ask(verbs.history, self._watch.site.store, scope, _LINES)
        except StoreError:
            return ""  # the next look tells that the store is away
        return announced(lines, seen)


def _revision(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 17 else 0


def _stopping() -> bool:
    """Whether uvicorn wants to end: it waits for all streams before it tells the application.

    It handles signals by a method of its server, which says so.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return getattr(server, "should_exit", False) is True
