"""One WebSocket to an upstream, without I/O: its handshake, its messages, its end.

``websockets`` parses and masks frames and keeps the state of RFC 6455. What it leaves to others is
here: the head of our handshake byte for byte, fragments joined into messages, answers that come
before the final one (RFC 9110, section 15.2), HTTP/1.0 refusals, and text that is none.

No extension is offered, since none is performed: frames of permessage-deflate would be noise to us.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, PayloadTooBig
from websockets.frames import EXTERNAL_CLOSE_CODES, Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import OPEN
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

MAX_SIZE: Final = 16 * 2**20
"""Bytes of a message, unless told otherwise; what uvicorn, hypercorn and websockets hold too."""

MAX_HEAD: Final = 64 * 1024
"""Bytes of the head of a request or an answer."""

MAX_REASON: Final = 123
"""Bytes of a reason: what a control frame has room for (RFC 6455, section 5.5)."""

NO_STATUS: Final = 1005
INVALID_TEXT: Final = 1007
TOO_BIG: Final = 1009
BAD_GATEWAY: Final = 1014
"""Close codes of RFC 6455, section 7.4.1, and of the registry that it founded (1014)."""

_OURS: Final = frozenset({
    b"connection", b"upgrade", b"te", b"content-length", b"transfer-encoding",
    b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-accept",
    b"sec-websocket-extensions", b"sec-websocket-protocol",
})  # fmt: skip
"""Headers that belong to one handshake on one connection (RFC 6455, section 4); lower case."""

_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_NAME: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[^\r\n\0]*")
_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1(?!01)\d\d[ \r]")
_OLD: Final = re.compile(rb"HTTP/1\.0 [2-5]\d\d[ \r]")


class Accepted(NamedTuple):
    """The upstream has taken the handshake.

    Attributes:
        headers: of its answer, in order, without those of the handshake itself.
        subprotocol: its choice among those offered.
    """

    headers: list[tuple[bytes, bytes]]
    subprotocol: str | None


class Refused(NamedTuple):
    """The upstream has answered the handshake with ordinary HTTP; ``body`` is whole."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Message(NamedTuple):
    """A whole message, text or binary."""

    data: str | bytes


class Closed(NamedTuple):
    """The upstream has closed in order; ``code`` is ``None`` if it gave none."""

    code: int | None
    reason: str


class Broken(NamedTuple):
    """The upstream has broken the protocol, a limit of ours, or its connection.

    Attributes:
        why: for the log.
        code: what a client is to be told.
    """

    why: str
    code: int = BAD_GATEWAY


Event: TypeAlias = Accepted | Refused | Message | Closed | Broken


class TooLargeError(ValueError):
    """A message for the upstream is larger than ``max_size``."""


class WebSocketExchange:
    """One WebSocket from the client's side.

    Args:
        target: what the request line names, path and query, as bytes.
        headers: of the request; those of the handshake itself are replaced.
        subprotocols: the client's offer, in its order.
        max_size: bytes of the largest message, in both directions.

    Attributes:
        head: the handshake, to be sent first.

    Raises:
        ValueError: the target or a header has bytes that would start a line of their own, or that
            no header may have; or a subprotocol is no token (RFC 6455, section 4.1).
    """

    def __init__(
        self,
        target: bytes,
        headers: Headers,
        subprotocols: Sequence[str] = (),
        *,
        max_size: int = MAX_SIZE,
    ) -> None:
        offer = [Subprotocol(name) for name in subprotocols if name]
        uri = WebSocketURI(False, "upstream", 80, "/", "")  # it only asks for one; `head` is ours
        self._protocol = ClientProtocol(uri, subprotocols=offer or None, max_size=max_size)
        self._max_size = max_size
        self._early: bytearray | None = bytearray()  # until the final answer's head is whole
        self._parts = bytearray()
        self._is_text = False
        self._told = False
        self.head = _head(target, headers, self._protocol.key, offer)

    @property
    def open(self) -> bool:
        """Whether messages can be sent: shaken hands, and nobody has begun to close."""
        return self._protocol.state is OPEN

    def feed(self, data: bytes) -> list[Event]:
        """Take what the upstream sent; :meth:`answers` has what is to be sent in return.

        A ``Closed`` or ``Broken`` is the last event there is.
        """
        if self._early is not None:
            self._early += data
            if not self._has_final_head(self._early):
                if len(self._early) <= MAX_HEAD:
                    return []
                return self._tell(Broken("the head of the answer is too large"))
            data, self._early = bytes(self._early), None
            if _OLD.match(data):  # refusals of HTTP/1.0 read like those of 1.1; acceptances do not
                data = b"HTTP/1.1" + data[8:]
        self._protocol.receive_data(data)
        return self._events()

    def end(self) -> list[Event]:
        """The upstream has ended its side of the connection, or the connection is gone."""
        if self._early:
            self._protocol.receive_data(bytes(self._early))
        self._protocol.receive_eof()
        return self._events()

    def answers(self) -> bytes:
        """What is to be sent because of what came: pongs and the answer to a close frame."""
        return b"".join(self._protocol.data_to_send())

    def message(self, data: str | bytes) -> bytes:
        """A message as one frame; nothing any more if the upstream has begun to close.

        Raises:
            TooLargeError: it is larger than ``max_size``.
        """
        is_text = isinstance(data, str)
        raw = data.encode() if isinstance(data, str) else data
        if len(raw) > self._max_size:
            raise TooLargeError(f"{len(raw)} bytes are more than {self._max_size}")
        if not self.open:
            return b""
        (self._protocol.send_text if is_text else self._protocol.send_binary)(raw)
        return self.answers()

    def ping(self) -> bytes:
        """A ping, as long as the WebSocket is open."""
        if self.open:
            self._protocol.send_ping(b"")
        return self.answers()

    def close(self, code: int | None = None, reason: str = "") -> bytes:
        """A close frame; nothing if one was sent or received before.

        Args:
            code: ``None`` for none, as for those that may not be sent: they only tell of an end.
            reason: cut to what a frame has room for.
        """
        if self.open:
            sendable = code in EXTERNAL_CLOSE_CODES or (code is not None and 3000 <= code < 5000)
            if sendable:
                self._protocol.send_close(code, shortened(reason))
            else:
                self._protocol.send_close()
        return self.answers()

    def _has_final_head(self, early: bytearray) -> bool:
        """Drop interim answers: this one has no place to pass them on, and waits for the last."""
        while (end := early.find(b"\r\n\r\n")) >= 0:
            if not _INTERIM.match(early):
                return True
            del early[: end + 4]
        return False

    def _events(self) -> list[Event]:
        events: list[Event] = []
        for got in self._protocol.events_received():
            event: Event | None = None
            if isinstance(got, Response):
                event = self._answer(got)
            elif isinstance(got, Frame):
                event = self._framed(got)
            if event is not None and not self._told:
                events.append(event)
                self._told = isinstance(event, Broken | Closed)
        return events + self._trouble()

    def _answer(self, response: Response) -> Event | None:
        trouble = self._protocol.handshake_exc
        if trouble is not None and not isinstance(trouble, InvalidStatus):
            return None
        headers = [(name.encode("ascii"), _raw(v)) for name, v in response.headers.raw_items()]
        if trouble is None:
            kept = [pair for pair in headers if pair[0].lower() not in _OURS]
            return Accepted(kept, self._protocol.subprotocol)
        return Refused(response.status_code, headers, bytes(response.body or b""))

    def _framed(self, frame: Frame) -> Event | None:
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(frame.data)
            return Closed(None if close.code == NO_STATUS else close.code, close.reason)
        if frame.opcode is Opcode.CONT:
            self._parts += frame.data  # in one piece: a million fragments are no million objects
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            self._is_text = frame.opcode is Opcode.TEXT
            if frame.fin:
                return self._message(frame.data)
            self._parts += frame.data
        if frame.opcode is not Opcode.CONT or not frame.fin:
            return None
        data, self._parts = self._parts, bytearray()
        return self._message(data)

    def _message(self, data: bytes | bytearray | memoryview) -> Event:
        if not self._is_text:
            return Message(bytes(data))
        try:
            return Message(str(data, "utf-8"))
        except UnicodeDecodeError:
            self._protocol.fail(INVALID_TEXT)
            return Broken("a text message is not UTF-8")

    def _trouble(self) -> list[Event]:
        handshake = self._protocol.handshake_exc
        if isinstance(handshake, InvalidStatus):
            return []
        trouble = handshake or self._protocol.parser_exc
        if trouble is None:
            return []
        code = TOO_BIG if isinstance(trouble, PayloadTooBig) else BAD_GATEWAY
        cause = f" ({trouble.__cause__})" if trouble.__cause__ else ""
        return self._tell(Broken(f"{trouble}{cause}", code))

    def _tell(self, broken: Broken) -> list[Event]:
        if self._told:
            return []
        self._told = True
        return [broken]


def shortened(reason: str) -> str:
    """A reason that a close frame has room for."""
    return reason.encode()[:MAX_REASON].decode("utf-8", "ignore")


def without_handshake(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers without those that belong to one handshake on one connection."""
    return [pair for pair in headers if pair[0].lower() not in _OURS]


def _head(target: bytes, headers: Headers, key: str, offer: Sequence[str]) -> bytes:
    lines = [
        *without_handshake(headers),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", key.encode()),
        (b"Sec-WebSocket-Version", b"13"),
    ]
    if offer:
        # An upstream that chooses such a one is refused, and the client would have chosen that.
        if not all(_NAME.fullmatch(name.encode("latin-1")) for name in offer):
            raise ValueError("a subprotocol that is no token")
        lines.append((b"Sec-WebSocket-Protocol", ", ".join(offer).encode("latin-1")))
    if not _TARGET.fullmatch(target):
        raise ValueError("the target of a request has no spaces and no control bytes")
    for name, value in lines:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header has bytes that no header may have")
    return b"\r\n".join([
        b"GET " + target + b" HTTP/1.1", *(n + b": " + v for n, v in lines), b"", b"",
    ])  # fmt: skip


def _raw(value: str) -> bytes:
    """The bytes of a header: Latin-1 since websockets 17, escaped bytes before."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode("ascii", "surrogateescape")
