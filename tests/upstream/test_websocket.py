"""The relay between real clients, real servers and real origins: what passes in good times."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, unix_serve
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from canary_middleware.upstream.address import Origin, parse
from tests.support.servers import LOCALHOST
from tests.support.tls import issue
from tests.upstream.websocket_rig import (
    UVICORN,
    Message,
    Site,
    ask,
    at,
    chain,
    client,
    closed,
    echo,
    eventually,
    front,
    in_loop,
    library,
    raw,
)

servers = pytest.mark.parametrize("kind", [*UVICORN, "hypercorn"])
TEN = 10 * 2**20


@servers
@in_loop
async def test_messages_pass_as_they_are(kind: str) -> None:
    messages: list[str | bytes] = ["", "gr\u00fc\u00df \U0001f426", b"", b"\0\xff" * 999, "x" * TEN]
    async with chain(library(echo), kind) as (site, entry):
        async with client(entry) as socket:
            for message in messages:
                await socket.send(message)
            assert [await socket.recv() for _ in messages] == messages
            await socket.send(["frag", "", "ment", "ed"])
            assert await socket.recv() == "fragmented"
        await eventually(lambda: site.ends == [None])
    assert site.reached == [True]


@servers
@in_loop
async def test_ten_megabytes_pass_both_ways(kind: str) -> None:
    blob = bytes(range(256)) * (TEN // 256)
    async with chain(library(echo), kind) as (_, entry), client(entry) as socket:
        await socket.send(blob)
        assert await socket.recv() == blob
        await socket.send("\u00e4" * (TEN // 2))
        assert await socket.recv() == "\u00e4" * (TEN // 2)


@in_loop
async def test_fragments_of_the_upstream_are_joined() -> None:
    async def fragments(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in (b"\x01\x02a\xc3", b"\x89\x01!", b"\x00\x01\xa4", b"\x80\x00", b"\x88\x00"):
            for byte in piece:
                writer.write(bytes([byte]))
                await writer.drain()
        await reader.readuntil(b"\x88\x80")

    async with chain(raw(fragments)) as (_, entry), client(entry) as socket:
        assert await socket.recv() == "a\u00e4"
        assert await closed(socket) == (1000, "")


@servers
@pytest.mark.parametrize(
    ("offer", "choice", "answer"),
    [(["a", "b"], "b", "b"), (["a"], None, None), (None, None, None)],
)
@in_loop
async def test_the_upstream_chooses_the_subprotocol(
    kind: str, offer: list[Subprotocol] | None, choice: Subprotocol | None, answer: str | None
) -> None:
    offered: list[Any] = []

    def choose(socket: ServerConnection, names: Any) -> Subprotocol | None:
        offered.append(list(names))
        return choice

    known = [Subprotocol("a"), Subprotocol("b")]
    origin = library(echo, subprotocols=known, select_subprotocol=choose)
    async with chain(origin, kind) as (_, entry), client(entry, subprotocols=offer) as socket:
        assert socket.subprotocol == answer
    assert offered in ([offer], [[]], [])


@servers
@in_loop
async def test_what_the_origin_is_asked_and_what_its_acceptance_says(kind: str) -> None:
    asked: list[Request] = []

    def see(socket: ServerConnection, request: Request) -> Response | None:
        asked.append(request)
        return None

    def cookies(socket: ServerConnection, request: Request, response: Response) -> None:
        response.headers["Set-Cookie"] = "a=1; Path=/"
        response.headers["Set-Cookie"] = "b=2"
        response.headers["X-Name"] = "gr\u00fc\u00df"

    given = {"Cookie": "id=7", "Authorization": "Bearer x", "X-Forwarded-For": "6.6.6.6"}
    origin = library(echo, process_request=see, process_response=cookies)
    async with (
        chain(origin, kind, prefix="/base") as (_, entry),
        client(
            entry, "/a%2Fb/%20?x=%C3%A4&x=1", additional_headers=given, compression="deflate",
            origin="https://shop.example",
        ) as socket,
    ):  # fmt: skip
        assert socket.response is not None
        headers = socket.response.headers
        await socket.send("x" * 1_000)
        assert await socket.recv() == "x" * 1_000
    (request,) = asked
    assert request.path == "/base/a%2Fb/%20?x=%C3%A4&x=1"
    assert request.headers["Host"] == f"{LOCALHOST}:{entry}"
    assert request.headers["Cookie"] == "id=7"
    assert request.headers["Authorization"] == "Bearer x"
    assert request.headers["Origin"] == "https://shop.example"
    assert request.headers["X-Forwarded-For"] == LOCALHOST
    assert request.headers["X-Forwarded-Proto"] == "http"
    assert "Sec-WebSocket-Extensions" not in request.headers
    assert headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2"]
    assert headers["X-Name"] == "gr\u00fc\u00df"
    assert len(headers.get_all("Sec-WebSocket-Accept")) == 1


def noting(paths: list[str]) -> Callable[[ServerConnection, Request], None]:
    """A check of an origin that notes what it is asked for."""
    return lambda _, request: paths.append(request.path)


@servers
@in_loop
async def test_the_path_that_was_decided_about_is_the_one_that_is_asked_for(kind: str) -> None:
    asked: list[str] = []
    async with library(echo, process_request=noting(asked)) as port:
        site = Site(at(port, "/base"))

        async def moving(scope: Message, receive: Any, send: Any) -> None:
            """A mount that takes its own part off the path, and off nothing else."""
            await site({**scope, "path": scope["path"].removeprefix("/tenant")}, receive, send)

        async with front(moving, kind) as entry:
            for path in ("/tenant/a%20b?x=%2F", "/tenant/caf%C3%A9", "/other/a%2Fb"):
                async with client(entry, path):
                    pass
    assert asked == ["/base/a%20b?x=%2F", "/base/caf%C3%A9", "/base/other/a%2Fb"]


@servers
@in_loop
async def test_an_absolute_form_names_a_path_and_no_upstream(kind: str) -> None:
    asked: list[str] = []
    forms = {
        b"http://other.example:81/a%2Fb?x=1": "/base/a%2Fb?x=1",
        b"HTTPS://other.example": "/base/",
        b"/http://other.example/": "/base/http://other.example/",
    }
    async with chain(library(echo, process_request=noting(asked)), kind, prefix="/base") as (
        _,
        entry,
    ):
        for form in forms:
            assert (await ask(entry, form)).startswith(b"HTTP/1.1 101 ")
    assert asked == [*forms.values()]


@servers
@pytest.mark.parametrize("form", [b"*", b"ftp://other.example/", b"a/b"])
@in_loop
async def test_what_is_no_path_goes_nowhere(kind: str, form: bytes) -> None:
    asked: list[str] = []
    async with chain(library(echo, process_request=noting(asked)), kind) as (_, entry):
        assert (await ask(entry, form)).startswith(b"HTTP/1.1 400 ")
    assert not asked


@in_loop
async def test_the_host_can_be_the_upstreams() -> None:
    hosts: list[str] = []

    def see(socket: ServerConnection, request: Request) -> Response | None:
        hosts.append(request.headers["Host"])
        return None

    origin = library(echo, process_request=see)
    async with chain(origin, preserve_host=False) as (site, entry), client(entry):
        pass
    assert hosts == [f"{LOCALHOST}:{site.origin.port}"]


@servers
@pytest.mark.parametrize("extensions", [True, False])
@in_loop
async def test_a_refused_handshake_is_refused_alike(kind: str, *, extensions: bool) -> None:
    def refuse(socket: ServerConnection, request: Request) -> Response | None:
        fields = Headers([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", "4")])
        return Response(401, "Who?", fields, b"who?")

    origin = library(echo, process_request=refuse)
    async with chain(origin, kind, extensions=extensions) as (site, entry):
        with pytest.raises(InvalidStatus) as caught:
            await client(entry)
    answer = caught.value.response
    if extensions:
        assert (answer.status_code, answer.body) == (401, b"who?")
        assert answer.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    else:
        assert answer.status_code == 403
    assert site.ends == [None]
    assert site.reached == [True]


@servers
@pytest.mark.parametrize("status", [b"200 OK", b"426 Upgrade", b"503 Later", b"520 Unknown"])
@in_loop
async def test_any_status_is_passed_on(kind: str, status: bytes) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 " + status + b"\r\nX-Why: because\r\n\r\nuntil the end")
        await writer.drain()

    async with chain(raw(refuse, shake=False), kind) as (_, entry):
        with pytest.raises(InvalidStatus) as caught:
            await client(entry)
    answer = caught.value.response
    assert answer.status_code == int(status[:3])
    assert answer.headers["X-Why"] == "because"
    assert answer.body == b"until the end"


@servers
@in_loop
async def test_a_redirect_is_the_clients_to_follow(kind: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://metadata/\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()

    async with chain(raw(refuse, shake=False), kind) as (_, entry):
        head = await ask(entry)
    assert head.startswith(b"HTTP/1.1 302 ")
    assert b"location: http://metadata/\r\n" in head


CLOSES = [(1000, "done"), (1001, ""), (1008, "no"), (1011, "oh"), (1012, "again"), (1013, ""),
          (3000, "r"), (4999, "\u00e4" * 61)]  # fmt: skip


@servers
@in_loop
async def test_the_upstreams_close_reaches_the_client(kind: str) -> None:
    closes = iter(CLOSES)

    async def leave(socket: ServerConnection) -> None:
        await socket.send("last")
        await socket.close(*next(closes))

    async with chain(library(leave), kind) as (site, entry):
        for end in CLOSES:
            async with client(entry) as socket:
                assert await socket.recv() == "last"
                assert await closed(socket) == end
        await eventually(lambda: site.ends == [None] * len(CLOSES))


@servers
@in_loop
async def test_the_clients_close_reaches_the_upstream(kind: str) -> None:
    ends: list[tuple[int | None, str | None]] = []

    async def watch(socket: ServerConnection) -> None:
        assert await socket.recv() == "last"
        ends.append(await closed(socket))

    async with chain(library(watch), kind) as (site, entry):
        for end in CLOSES:
            async with client(entry) as socket:
                await socket.send("last")
                await socket.close(*end)
            await eventually(lambda: len(ends) == len(site.ends) == len(site.tasks))
    # Hypercorn does not say how a client left.
    assert ends == (CLOSES if kind != "hypercorn" else [(1001, "")] * len(CLOSES))
    assert {*site.ends} == {None}


@pytest.mark.parametrize("kind", UVICORN)
@in_loop
async def test_a_close_without_a_code_has_none_at_the_upstream(kind: str) -> None:
    seen: list[bytes] = []

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read(6))
        writer.write(b"\x88\x00")

    async with chain(raw(watch), kind) as (_, entry), client(entry) as socket:
        socket.protocol.send_close()
        socket.transport.write(b"".join(socket.protocol.data_to_send()))
        await eventually(lambda: seen)
    assert re.fullmatch(rb"\x88\x80.{4}", seen[0], re.DOTALL)


@servers
@in_loop
async def test_a_close_without_a_code_of_the_upstream_gets_asgis_default(kind: str) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x88\x00")
        await reader.readuntil(b"\x88\x80")

    async with chain(raw(leave), kind) as (_, entry), client(entry) as socket:
        assert await closed(socket) == (1000, "")


@in_loop
async def test_a_unix_socket(tmp_path: Path) -> None:
    where = str(tmp_path / "o.sock")
    site = Site(parse(f"unix:{where}"))
    async with unix_serve(echo, where), front(site) as entry, client(entry) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"


@in_loop
async def test_tls(tmp_path: Path) -> None:
    papers = issue(tmp_path, "origin", "localhost")
    inside = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    inside.load_cert_chain(papers.certificate, papers.key)
    trusting = ssl.create_default_context(cafile=papers.authority)
    async with library(echo, ssl=inside) as port:
        origin = Origin("https", "localhost", port, b"localhost")
        async with front(site := Site(origin, tls=trusting)) as entry:
            async with client(entry) as socket:
                await socket.send("x" * 300_000)
                assert await socket.recv() == "x" * 300_000
                await socket.close(4_000, "bye")
            await eventually(lambda: site.ends == [None], 2)
        async with front(Site(origin)) as entry:  # nobody vouches for it
            with pytest.raises(InvalidStatus) as caught:
                await client(entry)
            assert caught.value.response.status_code == 502
