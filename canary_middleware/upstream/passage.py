"""One request on its way through an ASGI server to an upstream, and its answer on the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final

from canary_middleware.core.rescue import Superseded
from canary_middleware.errors import CanaryError
from canary_middleware.upstream.events import (
    BrokenRequestError,
    BrokenUpstreamError,
    Data,
    End,
    Event,
    Interim,
    Start,
    Trailers,
)
from canary_middleware.upstream.exchange import Exchange
from canary_middleware.upstream.headers import incoming
from canary_middleware.upstream.patience import tried
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.site import LOOK, Site

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LONGEST_LOOK: Final = 2 * LOOK
"""Seconds that an answer may take until we listen whether its client is still there."""
PATIENCE: Final = 1.0
"""Seconds that an upstream has to say 100 (Continue); then the body goes on its way all the same,
as RFC 9110 section 10.1.1 asks of clients."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110 section 9.2.1."""
BODILESS: Final = frozenset({204, 304})
"""Whose length is that of another answer, or none that may be (RFC 9110 section 8.6)."""


class UpstreamBrokenError(CanaryError):
    """An upstream broke an answer that had begun; raised so that the server cuts the connection."""


class RefusedError(Exception):
    """Nothing of an answer has been sent, and this one shall be.

    Attributes:
        status: what to answer.
        why: a few words for the log.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        self.why = why
        super().__init__(why)


class LateError(Exception):
    """A time-out.

    Attributes:
        status: 504, or 408 where it is the client who was waited for.
    """

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


class GoneError(Exception):
    """The client went away."""


class Passage:
    """See the module.

    Args:
        exchange: the request.
        framed: whether it has a body.
        scope: of the connection.
        receive: of the server.
        send: of the server.
        timeouts: that hold.
        keep_case: whether names of headers go on as they came.
        expecting: whether the client waits for a 100 before it sends its body.
    """

    __slots__ = (
        "_asked", "_begun", "_exchange", "_expecting", "_framed", "_keep_case", "_late", "_link",
        "_looks", "_loop", "_main", "_moved", "_over", "_raised", "_receive", "_scope", "_send",
        "_sending", "_sent", "_since", "_task", "_timeouts", "_timer", "_trailing", "_uploading",
        "_waited", "_wanted", "started",
    )  # fmt: skip

    def __init__(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send, timeouts: Timeouts,
        *, framed: bool, keep_case: bool, expecting: bool,
    ) -> None:  # fmt: skip
        self._exchange = exchange
        self._scope = scope
        self._receive = receive
        self._send = send
        self._timeouts = timeouts
        self._keep_case = keep_case
        self._expecting = expecting
        self._framed = self._uploading = framed
        self._asked = self._waited = 0.0  # when the client was asked for a piece; for how long
        self._sending = False
        self._sent = False
        self._trailing = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._raised: BaseException | None = None
        self._late = self._over = False
        self._wanted: asyncio.Future[None] | None = None
        self.started = False

    async def go(self, site: Site) -> None:
        """Pass the request on and its answer back.

        Raises:
            UnreachableError: there is no connection; nothing was read or sent.
            RefusedError: nothing was answered yet, and this status shall be.
            UpstreamBrokenError: the answer that had begun cannot be completed.
            ConnectionAbortedError: and that is the client's fault.
        """
        self._loop, self._looks = site.loop, site.looks
        self._main = asyncio.current_task(self._loop)
        self._begun = self._moved = self._since = self._loop.time()
        self._link = await site.take()
        try:
            if self._framed and not self._expecting:
                await self._pass_on(site)
            else:
                await self._ask_twice(site)
        except GoneError as error:
            if self._uploading and not self.started:  # granian says so of a body it cannot read
                raise RefusedError(400, "the client's body broke off") from error
            return
        except (BrokenUpstreamError, BrokenRequestError, LateError) as error:
            raise self._raised or self._failure(error) from None
        except asyncio.CancelledError:
            if self._late and self._main is not None and not self._main.uncancel():
                raise ConnectionAbortedError("the client took too long") from None
            raise
        finally:
            self._looks.leave(self)
            if self._timer is not None:
                self._timer.cancel()
            self._over = True
            if self._task is not None:
                self._task.cancel()
            site.release(self._link, reusable=self._exchange.reusable)

    def _failure(self, error: Exception) -> Exception:
        status, now = error.status if isinstance(error, LateError) else 502, self._loop.time()
        asked = now - self._asked if self._asked else 0.0
        if isinstance(error, BrokenRequestError):
            status = 400
        elif tried(self._waited + asked, now - self._since):
            status = 408
        if not self.started:
            return RefusedError(status, str(error))
        return (ConnectionAbortedError if status < 500 else UpstreamBrokenError)(str(error))

    async def _pass_on(self, site: Site) -> None:
        """A request with a body."""
        piece, more = await self._first_piece()
        if not self._link.alive:  # closed while we waited for the client; nothing was sent
            self._link = await site.take()
        self._begin_upload(piece, more)
        await self._answer()

    async def _ask_twice(self, site: Site) -> None:
        """A request without a body, or whose client waits for permission to send it."""
        try:
            await self._ask()
        except BrokenUpstreamError:
            if self._link.fresh or not self._may_repeat():
                raise
            # The connection was closed while it was idle, and we heard of it too late.
            self._link = await site.again(self._link)
            await self._ask()

    def _may_repeat(self) -> bool:
        return self._exchange.silent and not self._framed and self._scope["method"] in SAFE

    def _use(self) -> None:
        self._link.begin(self._exchange)
        if self._timer is None:
            if self._timeouts.start > LONGEST_LOOK:
                self._looks.join(self)
            else:
                self._timer = self._loop.call_later(self._timeouts.start, self.look)

    def _ask(self) -> Coroutine[Any, Any, None]:
        """Send the head; what is returned passes the answer on."""
        self._use()
        self._link.write(self._exchange.head)
        if self._framed:
            self._wanted = self._loop.create_future()
            self._beside(self._upload)
        else:
            self._sent = True
        return self._answer()

    async def _answer(self) -> None:
        """One coroutine for all of it, as each more costs at every wake-up."""
        link, time = self._link, self._loop.time
        while True:
            coming = link.coming()
            if coming is not None:
                await coming
            events = link.take()
            self._moved = before = time()
            if events:
                self._sending = True
                for message in self._messages(events):
                    await self._send(message)
                self._sending = False
                self._moved = now = time()
                self._waited += now - before
                if type(events[-1]) is End:
                    return

    # --- up --------------------------------------------------------------------------------------

    def _begin_upload(self, piece: bytes, more: bool) -> None:
        """The head with the first piece of the body; the rest beside the answer."""
        self._use()
        data = self._exchange.head + self._exchange.frame(piece)
        if more:
            self._link.write(data)
            self._beside(self._upload)
        else:
            self._link.write(data + self._exchange.finish())
            self._sent_all()

    async def _upload(self) -> None:
        if self._wanted is not None:
            await asyncio.wait({self._wanted}, timeout=PATIENCE)
        more = True
        while more:
            piece, more = await self._piece()
            data = self._exchange.frame(piece)
            if not more:
                data += self._exchange.finish()
            if not self._link.alive:
                return  # its answer needs no more of the body
            if data:
                self._link.write(data)
            if not self._link.writable:
                await self._link.drained()
        self._sent_all()
        await self._watch()

    async def _first_piece(self) -> tuple[bytes, bool]:
        try:
            async with asyncio.timeout(self._timeouts.idle):
                return await self._piece()
        except TimeoutError:
            raise LateError(408, "the client sent nothing of its body") from None

    async def _piece(self) -> tuple[bytes, bool]:
        asked = self._asked = self._loop.time()
        message = await self._receive()
        self._moved = self._loop.time()
        self._asked, self._waited = 0.0, self._waited + self._moved - asked
        if message["type"] == "http.disconnect":
            raise GoneError
        return message.get("body", b""), message.get("more_body", False)

    def _sent_all(self) -> None:
        self._uploading, self._sent = False, True
        self._waited, self._since = 0.0, self._loop.time()  # an upload excuses nothing after it

    async def _watch(self) -> None:
        """Listen for the end of the client."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        raise GoneError

    def _beside(self, work: Callable[[], Awaitable[None]]) -> None:
        self._task = self._loop.create_task(self._tell(work))

    async def _tell(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something beside the answer; whoever waits for that hears how it failed."""
        try:
            await work()
        except (BrokenUpstreamError, LateError):
            pass  # of the link, which told both
        except (BrokenRequestError, GoneError) as error:
            if not self._exchange.done:  # else the connection is good, and free in a moment
                self._fail(error)
        except (Exception, Superseded) as error:  # noqa: BLE001  # raised again in the application
            self._raised = error
            self._fail(BrokenRequestError("given up"))

    def _fail(self, error: Exception) -> None:
        if not self._over:  # else the connection is somebody else's already
            self._link.fail(error)

    # --- time ------------------------------------------------------------------------------------

    def look(self) -> None:
        """End what waits for too long; begin to listen for the end of a client who waits."""
        if self._task is None and self._sent:
            self._beside(self._watch)
        now, limits = self._loop.time(), self._timeouts
        due = self._begun + limits.total
        late = LateError(504, "it took longer than the whole may take")
        if not self._sending:
            if self._asked or self._uploading:
                at, status, why = self._moved + limits.idle, 408, "the client sent nothing"
                if not self._asked:
                    status, why = 504, "it took nothing of the body"
            elif not self.started:
                at, status, why = self._moved + limits.start, 504, "no answer began in time"
            else:
                at, status, why = self._moved + limits.idle, 504, "the answer stalled"
            if at < due:
                due, late = at, LateError(status, why)
        if now >= due:
            self._end(late)
            return
        wait = due if not self._sending else min(due, now + limits.idle)
        self._timer = self._loop.call_at(wait, self.look)

    def _end(self, late: LateError) -> None:
        if self._sending and self._main is not None:
            self._late = True  # and not the link: it is the server that keeps us waiting
            self._main.cancel()
        else:
            self._link.fail(late)

    # --- down ------------------------------------------------------------------------------------

    def _messages(self, events: list[Event]) -> list[Message]:
        """What to send of what came."""
        messages: list[Message] = []
        body = b""
        for event in events:
            kind = type(event)
            if kind is Data:
                if body:
                    messages.append(_body(body, more=True))
                body = event.data  # type: ignore[union-attr]
            elif kind is Start:
                messages.append(self._start(event))  # type: ignore[arg-type]
            elif kind is End:
                messages.append(_body(body, more=False))
                if self._trailing:
                    messages.append(self._trailers(events))
                return messages
            elif kind is Interim:
                messages += self._interim(event)  # type: ignore[arg-type]
        if body:
            messages.append(_body(body, more=True))
        return messages

    def _start(self, event: Start) -> Message:
        headers = incoming(event.headers, keep_case=self._keep_case)
        if event.status in BODILESS:  # servers look for a body, whatever the length is of
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        message: Message = {
            "type": "http.response.start",
            "status": event.status,
            "headers": headers,
        }
        if "http.response.trailers" in (self._scope.get("extensions") or ()):
            self._trailing = any(name.lower() == b"trailer" for name, _ in event.headers)
            message["trailers"] = self._trailing
        self.started = True
        return message

    def _trailers(self, events: list[Event]) -> Message:
        headers = [pair for one in events if isinstance(one, Trailers) for pair in one.headers]
        sent = incoming(headers, keep_case=self._keep_case)
        return {"type": "http.response.trailers", "headers": sent}

    def _interim(self, event: Interim) -> list[Message]:
        """Early hints, where the server can pass them on; a 100 is the server's own to say."""
        if event.status == 100 and self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)
        if event.status != 103 or self._scope.get("http_version") == "1.0":
            return []
        if "http.response.early_hint" not in (self._scope.get("extensions") or ()):
            return []
        links = [value for name, value in event.headers if name.lower() == b"link"]
        return [{"type": "http.response.early_hint", "links": links}] if links else []


def _body(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}
