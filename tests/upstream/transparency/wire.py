"""HTTP/1.1 messages as they stand on the wire (RFC 9112), read without the help of any library.

The reader is of two minds on purpose: it goes on where a lenient server would, so that a recording
is complete, and notes as a flaw whatever a strict one would refuse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

Header = tuple[bytes, bytes]

HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REQUEST_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [^ \x00-\x1f\x7f]+ HTTP/1\.[01]")
STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] [1-9][0-9][0-9] [^\x00-\x08\x0a-\x1f\x7f]*")
HEAD_FLAWS: Final = {
    "NUL": re.compile(rb"\x00"),
    "bare LF": re.compile(rb"(?<!\r)\n"),
    "bare CR": re.compile(rb"\r(?!\n)"),
    "folded line": re.compile(rb"\n[ \t]"),
}
WITHOUT_BODY: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Message:
    """One request or answer.

    Attributes:
        line: request line or status line, without its end.
        headers: names as spelled, values without the white space around them (RFC 9110 5.5).
        body: after the removal of chunked; what came of it, if it is not ``complete``.
        framing: "none", "length", "chunked" or "close".
        flaws: what a strict reader would refuse.
    """

    line: bytes
    headers: tuple[Header, ...]
    body: bytes
    trailers: tuple[Header, ...]
    framing: str
    flaws: tuple[str, ...]
    complete: bool

    @property
    def status(self) -> int:
        """The status of an answer; 0 if there is none."""
        word = self.line[9:12]
        return int(word) if word.isdigit() else 0

    @property
    def target(self) -> bytes:
        return [*self.line.split(b" "), b""][1]

    @property
    def method(self) -> bytes:
        return self.line.split(b" ")[0]

    def values(self, name: bytes) -> list[bytes]:
        return [value for known, value in self.headers if known.lower() == name]


class _Body(NamedTuple):
    framing: str
    body: bytes
    rest: bytes
    complete: bool
    trailers: tuple[Header, ...] = ()
    flaws: tuple[str, ...] = ()


def request(data: bytes) -> tuple[Message, bytes] | None:
    """The first request in ``data`` and what follows it; None while its head is not complete."""
    parted = _head(data, REQUEST_LINE)
    if parted is None:
        return None
    line, headers, flaws, rest = parted
    if len([name for name, _ in headers if name.lower() == b"host"]) != 1:
        flaws.append("Host")
    framing = _framing(headers, flaws)
    body = _Body("none", b"", rest, True) if framing == "close" else _read(framing, rest, False)
    return _message(line, headers, flaws, body), body.rest


def answer(data: bytes, method: bytes, *, closed: bool) -> tuple[Message, bytes] | None:
    """The first answer in ``data`` and what follows it.

    Args:
        method: of the request; what is said to HEAD has no body.
        closed: whether the other side closed in good order: the end of a body without framing.
    """
    parted = _head(data, STATUS_LINE)
    if parted is None:
        return None
    line, headers, flaws, rest = parted
    status = int(line[9:12]) if line[9:12].isdigit() else 0
    framing = _framing(headers, flaws)
    if method == b"HEAD" or status < 200 or status in WITHOUT_BODY:
        body = _Body("none", b"", rest, True)
    else:
        body = _read(framing, rest, closed)
    return _message(line, headers, flaws, body), body.rest


def answers(data: bytes, methods: list[bytes], *, closed: bool) -> tuple[list[Message], bytes]:
    """All answers to requests of these methods, interim ones among them, and what is left over."""
    found: list[Message] = []
    for method in methods:
        status = 100
        while status < 200:
            read = answer(data, method, closed=closed)
            if read is None:
                return found, data
            message, data = read
            found.append(message)
            if not message.complete:
                return found, data
            status = message.status or 999
    return found, data


def _head(
    data: bytes, line: re.Pattern[bytes]
) -> tuple[bytes, list[Header], list[str], bytes] | None:
    blank = len(data) - len(data.lstrip(b"\r\n"))
    end = HEAD_END.search(data, blank)
    if end is None:
        return None
    head = data[blank : end.end()]
    first, *lines = re.split(rb"\r?\n", data[blank : end.start()])
    flaws = [name for name, pattern in HEAD_FLAWS.items() if pattern.search(head)]
    flaws += ["empty line first"] if blank else []
    flaws += [] if line.fullmatch(first) else ["first line"]
    return first, _headers(lines, flaws), flaws, data[end.end() :]


def _headers(lines: list[bytes], flaws: list[str]) -> list[Header]:
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name):
            flaws.append(f"header line {line[:40]!r}")
        headers.append((name, value.strip(b" \t")))
    return headers


def _framing(headers: list[Header], flaws: list[str]) -> str:
    """One of chunked, a number of bytes, and close; doubts are noted as flaws."""
    codings = [value.lower() for name, value in headers if name.lower() == b"transfer-encoding"]
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    if codings:
        flaws += ["transfer coding"] if codings != [b"chunked"] else []
        flaws += ["length beside transfer coding"] if lengths else []
        return "chunked"
    if not lengths:
        return "close"
    flaws += ["repeated length"] if len(lengths) > 1 else []
    if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        flaws.append("length")
        return "0"
    return lengths[0].decode()


def _read(framing: str, data: bytes, closed: bool) -> _Body:
    if framing == "chunked":
        return _chunked(data)
    if framing == "close":
        return _Body("close", data, b"", closed)
    length = int(framing)
    return _Body("length", data[:length], data[length:], len(data) >= length)


def _chunked(data: bytes) -> _Body:
    parts: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        digits = data[at:end].partition(b";")[0].rstrip(b" \t")
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
            return _Body("chunked", b"".join(parts), b"", False, (), ("chunk size",))
        size, at = int(digits, 16), end + 2
        if size == 0:
            return _trailers(b"".join(parts), data[end:])
        parts.append(data[at : at + size])
        at += size + 2
        if at > len(data):
            break
        if data[at - 2 : at] != b"\r\n":
            return _Body("chunked", b"".join(parts), b"", False, (), ("chunk end",))
    return _Body("chunked", b"".join(parts), b"", False)


def _trailers(body: bytes, data: bytes) -> _Body:
    """``data`` begins with the end of the line of the last chunk."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return _Body("chunked", body, b"", False)
    flaws: list[str] = []
    lines = [line for line in data[:end].split(b"\r\n") if line]
    trailers = _headers(lines, flaws)
    return _Body("chunked", body, data[end + 4 :], True, tuple(trailers), tuple(flaws))


def _message(line: bytes, headers: list[Header], flaws: list[str], body: _Body) -> Message:
    return Message(
        line,
        tuple(headers),
        body.body,
        body.trailers,
        body.framing,
        (*flaws, *body.flaws),
        body.complete,
    )
