"""One request on one HTTP/1.1 connection, and what comes back: no sockets, no clock.

llhttp judges every head and takes chunked bodies apart. Whatever it leaves to its user is decided
here: where a head ends and how long it may be, which answers have no body, what ends a body, and
whether the connection may carry another exchange (RFC 9112 sections 4 to 9). An answer that two
readers could understand differently is refused whole; nothing of it is repaired.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

try:
    from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
except ModuleNotFoundError as _missing:
    _HINT = "upstreams need httptools; run: pip install 'canary-middleware[upstream]'"
    raise ModuleNotFoundError(_HINT, name=_missing.name) from None

from canary_middleware.upstream.events import (
    LIMITS,
    BrokenRequestError,
    BrokenUpstreamError,
    Data,
    End,
    Event,
    Headers,
    Interim,
    Limits,
    Start,
    Switch,
    Trailers,
)
from canary_middleware.upstream.framing import (
    BadFramingError,
    Framing,
    Kind,
    content_length,
    tokens,
)
from canary_middleware.upstream.requesting import check, write

_END: Final = b"\r\n\r\n"
_PROTOCOL: Final = b"HTTP/1."
_ANSWERING: Final = re.compile(
    rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*))?(?=\r\n)"
)
_FRAMED: Final = frozenset({b"content-length", b"transfer-encoding"})
_TELLING: Final = _FRAMED | {b"connection"}
_NONE: Final = Kind.NONE
_BODILESS: Final = frozenset({204, 304})
_OVER: Final = End()
_CHUNK_LINE: Final = 16
"""Bytes that a chunk may cost on the wire beyond its data, without arousing suspicion."""


class Exchange:
    """A request, and the answer to it.

    Args:
        method: a token, in its case.
        target: the path and query, as they go on the wire.
        headers: all that are sent, Host and Content-Length among them, but not Transfer-Encoding,
            which is written here where the framing wants it.
        framing: of the request's body; must agree with the headers.
        limits: what the upstream may make us hold.

    Attributes:
        head: request line, headers and the empty line.
        started: whether the head of the final answer has come.
        done: whether the answer is complete (also after :class:`Switch`).
        continued: whether a 100 has come.
        surplus: whether bytes came after the end of the answer; they were dropped.

    Raises:
        ValueError: a part cannot be written without being read as something else: CR, LF or NUL
            anywhere, other than a token as a name or method, white space in the target, or headers
            that contradict the framing.
    """

    __slots__ = (
        "_bodiless", "_excess", "_finished", "_framing", "_heads", "_held", "_keep", "_left",
        "_limits", "_owed", "_parser", "_read", "_sink", "_tail", "continued", "done", "head",
        "started", "surplus",
    )  # fmt: skip

    def __init__(
        self,
        method: bytes,
        target: bytes,
        headers: Sequence[tuple[bytes, bytes]],
        framing: Framing,
        *,
        limits: Limits = LIMITS,
    ) -> None:
        kind, self._owed = framing
        # Our requests carry Connection only to upgrade, or to close: then this one is the last.
        self._keep = not check(headers, kind)
        self.head = write(method, target, headers, kind)
        self.started = self.done = self.continued = self.surplus = False
        self._framing = kind
        self._finished = kind is _NONE
        self._bodiless = method == b"HEAD"
        self._limits = limits
        self._heads = 0
        self._held = bytearray()
        # The function rather than the bound method: that would be a cycle for the collector.
        self._read: Callable[[Exchange, bytes, list[Event]], bytes] = Exchange._read_head

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange now.

        Requests with a Connection header, which close or ask for an upgrade, are always the last.
        """
        return self.done and self._finished and self._keep and not self.surplus

    @property
    def silent(self) -> bool:
        """Whether not one byte of an answer has come."""
        return not (self._heads or self._held)

    def frame(self, data: bytes) -> bytes:
        """A piece of the request's body as it goes on the wire.

        Raises:
            BrokenRequestError: more than the head promised.
        """
        if not data:
            return b""
        if self._finished:
            raise BrokenRequestError("body after the end of the request")
        if self._framing is not Kind.LENGTH:
            return b"%x\r\n%b\r\n" % (len(data), data)
        self._owed -= len(data)
        if self._owed < 0:
            raise BrokenRequestError("a body longer than its Content-Length")
        return data

    def finish(self) -> bytes:
        """What goes on the wire after the last piece of the request's body.

        Raises:
            BrokenRequestError: less came than the head promised.
        """
        if self._finished:
            return b""
        if self._owed:
            raise BrokenRequestError("a body that is not as long as its Content-Length")
        self._finished = True
        return b"" if self._framing is Kind.LENGTH else b"0\r\n\r\n"

    def feed(self, data: bytes) -> list[Event]:
        """Take what came from upstream.

        Raises:
            BrokenUpstreamError: it is no HTTP/1.1, or could be understood in two ways. Nothing
                more can be fed then.
        """
        events: list[Event] = []
        while data:
            if self.done:
                self.surplus = True
                break
            data = self._read(self, data, events)
        return events

    def close(self) -> list[Event]:
        """The upstream closed its side.

        Raises:
            BrokenUpstreamError: before the end of the answer.
        """
        events: list[Event] = []
        if self._read is Exchange._read_all and not self.done:
            self._end(events)
        if not self.done:
            where = "body" if self.started else "answer" if self.silent else "head"
            raise BrokenUpstreamError(f"closed before the end of the {where}")
        return events

    def _read_head(self, data: bytes, events: list[Event]) -> bytes:
        at = -1 if self._held else data.find(_END)
        if at < 0:
            data = self._hold(data)
            at = data.find(_END)
            if at < 0:
                return b""
        head, rest = data[: at + 4], data[at + 4 :]
        self._heads += len(head)
        if self._heads > self._limits.head:
            raise BrokenUpstreamError("a head that is too long")
        line = _ANSWERING.match(head)
        if line is None:
            raise BrokenUpstreamError("no status line of HTTP/1")
        sink = _Sink()
        parser = _judge(head, sink, self._limits.lines)
        status = int(line[2])
        if status == 101:
            return self._switch(Switch(line[3] or b"", sink.headers, rest), events)
        if status < 200:
            self.continued = self.continued or status == 100
            events.append(Interim(status, sink.headers))
        else:
            self._parser, self._sink = parser, sink
            self._start(status, line, events)
        return rest

    def _hold(self, data: bytes) -> bytes:
        """Keep an incomplete head, as far as it can still become one; give all when it is whole."""
        held = self._held
        seen = len(held)
        held += data
        if held.find(_END, max(0, seen - 3)) >= 0:
            self._held = bytearray()
            return bytes(held)
        if self._heads + len(held) > self._limits.head:
            raise BrokenUpstreamError("a head that is too long")
        # So that strangers are refused at once, rather than when the time for the start is over.
        if not _PROTOCOL.startswith(bytes(held[: len(_PROTOCOL)])):
            raise BrokenUpstreamError("no status line of HTTP/1")
        if held.count(b"\n", seen) != held.count(b"\r\n", max(0, seen - 1)):
            raise BrokenUpstreamError("a line that ends without CR")
        return b""

    def _switch(self, event: Switch, events: list[Event]) -> bytes:
        if b"\r\nupgrade: " not in self.head.lower():
            raise BrokenUpstreamError("a 101 that nobody asked for")
        self.done, self._keep = True, False
        events.append(event)
        return b""

    def _start(self, status: int, line: re.Match[bytes], events: list[Event]) -> None:
        headers = self._sink.headers
        told: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if (key := name.lower()) in _TELLING:
                told.setdefault(key, []).append(value)
        chunked, length = _framed(told, http10=line[1] == b"0")
        if line[1] == b"0" or b"connection" in told:
            options = tokens(told.get(b"connection", ()))
            allowed = line[1] == b"1" or b"keep-alive" in options
            self._keep = self._keep and allowed and b"close" not in options
        if self._bodiless or status in _BODILESS:
            length = 0
        self.started = True
        events.append(Start(status, line[3] or b"", headers, length))
        if length == 0:
            self._end(events)
        elif length is not None:
            self._left = length
            self._read = Exchange._read_counted
        elif chunked:
            self._sink.headers = []
            self._excess, self._tail = 0, b""
            self._read = Exchange._read_chunked
        else:
            self._keep = False
            self._read = Exchange._read_all

    def _end(self, events: list[Event]) -> None:
        self.done = True
        events.append(_OVER)

    def _read_counted(self, data: bytes, events: list[Event]) -> bytes:
        left = self._left
        self._left -= len(data)
        if self._left > 0:
            events.append(Data(data))
            return b""
        events.append(Data(data[:left]))
        self._end(events)
        return data[left:]

    def _read_all(self, data: bytes, events: list[Event]) -> bytes:
        events.append(Data(data))
        return b""

    def _read_chunked(self, data: bytes, events: list[Event]) -> bytes:
        sink = self._sink
        sink.pieces = []
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            if not sink.complete:
                raise BrokenUpstreamError(f"broken chunks: {error}") from error
            self.surplus = True
        body = b"".join(sink.pieces)
        if body:
            events.append(Data(body))
        # llhttp passes over line ends between two messages, and begins the next with the rest.
        self._tail = (self._tail + data[-5:])[-5:]
        stray = len(self._tail) == 5 and not self._tail.strip(b"\r\n")
        self.surplus = self.surplus or sink.begun > 1 or (sink.complete and stray)
        if not self.surplus:
            self._weigh(len(data), len(body), len(sink.pieces))
        if sink.complete:
            if sink.headers:
                events.append(Trailers(_checked_trailers(sink.headers, self._limits)))
            self._end(events)
        return b""

    def _weigh(self, fed: int, body: int, pieces: int) -> None:
        """Refuse chunks that are mostly extensions: work for us, and no progress for anybody."""
        waste = fed - 3 * body - _CHUNK_LINE * pieces
        self._excess = max(0, self._excess + waste)
        if self._excess > self._limits.chunks:
            raise BrokenUpstreamError("chunks with more extensions than data")


class _Sink:
    """What llhttp calls back."""

    __slots__ = ("begun", "complete", "headers", "pieces")

    def __init__(self) -> None:
        self.headers: Headers = []
        self.pieces: list[bytes] = []
        self.begun = 0
        self.complete = False

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.complete:
            self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True


def _judge(head: bytes, sink: _Sink, lines: int) -> HttpResponseParser:
    """Have llhttp read a whole head.

    Raises:
        BrokenUpstreamError: it refuses the head, or there are more lines than that.
    """
    parser = HttpResponseParser(sink)
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass  # a 101: whether it was asked for is not the parser's business
    except HttpParserError as error:
        raise BrokenUpstreamError(f"a broken head: {error}") from error
    if len(sink.headers) > lines:
        raise BrokenUpstreamError("a head of too many lines")
    if b" \r\n" in head or b"\t\r\n" in head:  # llhttp strips white space before values only
        sink.headers = [(name, value.rstrip(b" \t")) for name, value in sink.headers]
    return parser


def _framed(told: dict[bytes, list[bytes]], *, http10: bool) -> tuple[bool, int | None]:
    """Whether the body comes in chunks, and its length in bytes if the headers tell one."""
    codings, lengths = told.get(b"transfer-encoding"), told.get(b"content-length")
    if codings is not None:
        if lengths is not None or http10:
            raise BrokenUpstreamError("Transfer-Encoding with Content-Length or in HTTP/1.0")
        if tokens(codings) != [b"chunked"]:
            raise BrokenUpstreamError("a Transfer-Encoding that is not just chunked")
        return True, None
    if lengths is None:
        return False, None
    try:
        return False, content_length(lengths)
    except BadFramingError as error:
        raise BrokenUpstreamError(error.why) from error


def _checked_trailers(headers: Headers, limits: Limits) -> Headers:
    size = sum(len(name) + len(value) for name, value in headers)
    if size > limits.trailers or len(headers) > limits.lines:
        raise BrokenUpstreamError("trailers that are too long")
    if any(name.lower() in _FRAMED for name, _ in headers):
        raise BrokenUpstreamError("trailers that speak of framing")
    return [(name, value.rstrip(b" \t")) for name, value in headers]
