"""What servers hand over in ways of their own, said to the ASGI application without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from canary_middleware.upstream.asgi import AsgiUpstream
from tests.upstream.origins import Origin, Peer, answering, text

OK = text(b"hello")
HOST = [(b"host", b"shop.example")]
DISCONNECT = {"type": "http.disconnect"}
Message = dict[str, Any]


def asked(upstream: AsgiUpstream, *messages: Message, **more: Any) -> list[Message]:
    """Everything that is sent for a request of these messages, after which the client is gone."""
    scope = {
        "type": "http", "http_version": "1.1", "scheme": "http", "method": "GET",
        "path": unquote(more.get("raw_path", b"/").decode("latin-1")), "raw_path": b"/",
        "query_string": b"", "headers": HOST, "client": ("192.0.2.7", 1), **more,
    }  # fmt: skip
    said: list[Message] = []
    arriving = iter(messages)

    async def receive() -> Message:
        return next(arriving, DISCONNECT)

    async def send(message: Any) -> None:
        said.append(message)

    async def shutting_down() -> Message:
        return {"type": "lifespan.shutdown"}

    async def nobody(message: Any) -> None:
        assert message["type"].startswith("lifespan.")

    async def everything() -> None:
        await upstream(scope, receive, send)
        await upstream({"type": "lifespan"}, shutting_down, nobody)  # closes the pool

    asyncio.run(everything())
    return said


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(answering(OK)) as origin:
        yield origin


@pytest.mark.parametrize(
    ("raw", "sent"),
    [
        (b"http://other.example:81/a%2Fb", b"/a%2Fb"),
        (b"HTTPS://other.example", b"/"),
        (b"/http://other.example/", b"/http://other.example/"),
    ],
)
def test_an_absolute_form_names_a_path_and_no_upstream(
    origin: Origin, raw: bytes, sent: bytes
) -> None:
    """As hypercorn leaves it."""
    said = asked(AsgiUpstream(origin.url), raw_path=raw, query_string=b"c")
    assert said[0]["status"] == 200
    assert origin.heads[0].split()[1] == sent + b"?c"


@pytest.mark.parametrize(
    ("raw", "path", "sent"),
    [
        (b"/tenant/shop%20a", "/shop a", b"/shop%20a"),  # a middleware has moved it
        (b"/a%2Fb%C3%A9", "/a/b\u00e9", b"/a%2Fb%C3%A9"),
        (b"/b%E9", "/b\ufffd", b"/b%E9"),
        (b"/b\xe9", "/b\u00e9", b"/b\xe9"),
        (b"/b%E9", "/b\u00e9", b"/b%E9"),
        (b"", "/b", b"/b"),
    ],
)
def test_the_path_that_was_decided_about_is_the_one_that_is_asked_for(
    origin: Origin, raw: bytes, path: str, sent: bytes
) -> None:
    asked(AsgiUpstream(origin.url), raw_path=raw, path=path)
    assert origin.heads[0].split()[1] == sent


@pytest.mark.parametrize("raw", [b"other.example:443", b"ftp://other.example/", b"a/b"])
def test_what_is_no_path_goes_nowhere(origin: Origin, raw: bytes) -> None:
    said = asked(AsgiUpstream(origin.url), raw_path=raw)
    assert said[0]["status"] == 400
    assert not origin.peers


@pytest.mark.parametrize(("version", "ends"), [("1.1", True), ("1.0", True), ("2", False)])
def test_a_refusal_ends_the_connection_that_may_hide_more(
    origin: Origin, version: str, ends: bool
) -> None:
    """What a server such as hypercorn takes for the next request may be the rest of this one."""
    headers = [*HOST, (b"content-length", b"4"), (b"transfer-encoding", b"chunked")]
    said = asked(AsgiUpstream(origin.url), headers=headers, http_version=version)
    assert said[0]["status"] == 400
    assert ((b"connection", b"close") in said[0]["headers"]) is ends
    assert not origin.peers


@pytest.mark.parametrize("pieces", [(), (b"5",), (b"5", b"6")])
def test_a_body_that_cannot_be_read_is_refused(pieces: tuple[bytes, ...]) -> None:
    """As granian says it; without an answer of ours it would say 500, which counts as a failure."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.receive()
        peer.receive()

    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    headers = [*HOST, (b"transfer-encoding", b"chunked")]
    with Origin(script) as origin:
        said = asked(AsgiUpstream(origin.url), *messages, method="POST", headers=headers)
    assert said[0]["status"] == 400


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_no_length_is_said_of_an_answer_without_a_body(status: bytes) -> None:
    """Uvicorn takes the connection down that lacks what the length promises."""
    answer = b"HTTP/1.1 %b\r\nContent-Length: 7\r\nETag: x\r\n\r\n" % status
    with Origin(answering(answer)) as origin:
        said = asked(AsgiUpstream(origin.url))
    assert said[0]["headers"] == [(b"etag", b"x")]
