"""A case: what the client does, what the origin does, what must come of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.upstream.transparency.expect import Expectation, Same
from tests.upstream.transparency.steps import BODY, PATIENCE, Step
from tests.upstream.transparency.wire import Header

DATE: Final = b"Sun, 06 Nov 1994 08:49:37 GMT"
SAME: Final = Same()
HOST: Final = b"shop.example"


@dataclass(frozen=True, slots=True)
class Case:
    """One case.

    Attributes:
        name: part of the path; lower-case letters, digits and dashes.
        group: what it is about; one of the headings of the table.
        send: steps of the client.
        answer: steps of the origin for each request that names the case.
        expect: judges what came of it.
        methods: of the requests whose answers the client waits for.
        again: steps of the origin for the requests that follow on other connections.
        follow: how many such requests follow.
        patience: seconds for which the client waits for its answers.
        alone: nothing else may run meanwhile, as it would take the connection in question.
    """

    name: str
    group: str
    send: tuple[Step, ...]
    answer: tuple[Step, ...]
    expect: Expectation = SAME
    methods: tuple[bytes, ...] = (b"GET",)
    again: tuple[Step, ...] = ()
    follow: int = 0
    patience: float = PATIENCE
    alone: bool = False


def path(name: str, rest: bytes = b"", *, place: bytes = b"") -> bytes:
    """The target of a case; ``place`` chooses one of the upstreams of the proxy (proxies.py)."""
    return b"%s/~%s~%s" % (place, name.encode(), rest)


def request(
    target: bytes,
    headers: Iterable[Header] = (),
    body: bytes = b"",
    *,
    method: bytes = b"GET",
    version: bytes = b"1.1",
    host: bytes | None = HOST,
) -> bytes:
    """A request as it goes on the wire, with nothing in it that was not asked for."""
    lines = [b"%s %s HTTP/%s" % (method, target, version)]
    lines += [] if host is None else [b"Host: " + host]
    lines += [b"%s: %s" % pair for pair in headers]
    return b"\r\n".join([*lines, b"", body])


def answer(
    status: bytes = b"200 OK",
    headers: Iterable[Header] = (),
    body: bytes | None = b"hello\n",
    *,
    version: bytes = b"1.1",
) -> bytes:
    """An answer framed by its length; one without even that if ``body`` is None.

    Date and Server stand in each: what a server adds only where they miss is one case, not all.
    """
    lines = [b"HTTP/%s %s" % (version, status), b"Date: " + DATE, b"Server: origin"]
    lines += [b"%s: %s" % pair for pair in headers]
    lines += [] if body is None else [b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, b"", body or b""])


def chunked(*chunks: bytes, trailers: Sequence[Header] = (), end: bool = True) -> bytes:
    """A body in these chunks; without its end if it shall break off."""
    lines = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    if not end:
        return lines
    return lines + b"0\r\n" + b"".join(b"%s: %s\r\n" % pair for pair in trailers) + b"\r\n"


CHUNKED: Final = (b"Transfer-Encoding", b"chunked")
FINE: Final = (BODY, answer())
HEAD_FINE: Final = (BODY, answer(headers=[(b"Content-Length", b"6")], body=None))


def asked(
    name: str,
    group: str,
    rest: bytes = b"",
    headers: Iterable[Header] = (),
    body: bytes = b"",
    *,
    method: bytes = b"GET",
    expect: Expectation = SAME,
) -> Case:
    """A case about a request: an ordinary answer follows it."""
    sent = request(path(name, rest), headers, body, method=method)
    return Case(name, group, (sent,), HEAD_FINE if method == b"HEAD" else FINE, expect, (method,))


def said(
    name: str,
    group: str,
    *steps: Step,
    method: bytes = b"GET",
    expect: Expectation = SAME,
) -> Case:
    """A case about an answer: an ordinary request precedes it."""
    sent = request(path(name), method=method)
    return Case(name, group, (sent,), (BODY, *steps), expect, (method,))
