"""The relay in bad times: who is told what, and how soon."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

from canary_middleware.errors import ConfigurationError
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.passage import UpstreamBrokenError
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.websocket_link import Terms
from tests.support.servers import free_port
from tests.upstream.websocket_rig import (
    SCOPE,
    UVICORN,
    Hand,
    Message,
    Site,
    at,
    chain,
    client,
    closed,
    eventually,
    front,
    in_loop,
    library,
    raw,
    silence,
)

servers = pytest.mark.parametrize("kind", [*UVICORN, "hypercorn"])
SOON = 1.0
"""Seconds within which the end of one side is the end of the other."""
MIB = 2**20


async def refusal(entry: int) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        await client(entry)
    answer = caught.value.response
    return answer.status_code, bytes(answer.body or b"")


@servers
@in_loop
async def test_nobody_there_is_a_502_that_tells_nothing(kind: str) -> None:
    async with front(site := Site(at(free_port())), kind) as entry:
        assert await refusal(entry) == (502, b"Bad Gateway\n")
        site.extensions = False
        assert (await refusal(entry))[0] == 403
    assert site.reached == [False, False]
    assert site.ends == [None, None]


@in_loop
async def test_no_connection_in_time_is_a_504() -> None:
    async with raw(silence, shake=False) as port:  # it speaks no TLS
        origin = Origin("https", "localhost", port, b"localhost")
        site = Site(origin, Timeouts(connect=0.2), tls=ssl.create_default_context())
        async with front(site) as entry:
            assert await refusal(entry) == (504, b"Gateway Timeout\n")
    assert site.reached == [False]


@in_loop
async def test_no_answer_in_time_is_a_504() -> None:
    loop = asyncio.get_running_loop()
    timeouts = Timeouts(start=0.3)
    async with chain(raw(silence, shake=False), timeouts=timeouts) as (site, entry):
        start = loop.time()
        assert await refusal(entry) == (504, b"Gateway Timeout\n")
        assert 0.27 < loop.time() - start < 0.5
    assert site.reached == [True]


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"HTTP/1.1 101 Yes\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nX:" + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
    ],
)  # fmt: skip
@in_loop
async def test_an_answer_that_is_none_is_a_502(answer: bytes) -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with chain(raw(garbage, shake=False)) as (site, entry):
        assert await refusal(entry) == (502, b"Bad Gateway\n")
    assert site.ends == [None]


@servers
@in_loop
async def test_a_client_that_leaves_during_the_handshake_ends_it(kind: str) -> None:
    ended = asyncio.Event()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()

    async with chain(raw(watch, shake=False), kind) as (site, entry):
        attempt = asyncio.ensure_future(client(entry).__aenter__())
        await eventually(lambda: site.reached)
        attempt.cancel()
        await eventually(ended.is_set, SOON)
        await eventually(lambda: site.ends == [None], SOON)


def cut(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@servers
@pytest.mark.parametrize("end", [asyncio.StreamWriter.close, cut])
@in_loop
async def test_an_upstream_that_is_cut_is_a_bad_gateway_to_the_client(
    kind: str, end: Callable[[asyncio.StreamWriter], None]
) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x81\x04last")
        await writer.drain()
        await reader.readexactly(7)
        end(writer)

    async with chain(raw(leave), kind) as (site, entry), client(entry) as socket:
        assert await socket.recv() == "last"
        await socket.send("x")
        async with asyncio.timeout(SOON):
            assert await closed(socket) == (1014, "Bad Gateway")
        await eventually(lambda: site.ends)
    assert isinstance(site.ends[0], UpstreamBrokenError)


@servers
@in_loop
async def test_a_client_that_is_cut_ends_the_upstream(kind: str) -> None:
    ends: list[int | None] = []

    async def watch(socket: ServerConnection) -> None:
        ends.append((await closed(socket))[0])

    async with chain(library(watch), kind) as (site, entry):
        async with client(entry) as socket:
            socket.transport.abort()
        await eventually(lambda: ends and site.ends, SOON)
    # What servers make of it: no status, or abnormal, which we pass on as going away.
    assert ends == [1001 if kind == "hypercorn" else 1005]
    assert site.ends == [None]


@servers
@in_loop
async def test_too_large_a_message_of_the_upstream_closes_both_sides(kind: str) -> None:
    ends: list[int | None] = []

    async def much(socket: ServerConnection) -> None:
        await socket.send("x" * 1_001)
        ends.append((await closed(socket))[0])

    async with chain(library(much), kind, terms=Terms(max_size=1_000)) as (site, entry):
        async with client(entry) as socket:
            assert (await closed(socket))[0] == 1009
        await eventually(lambda: ends and site.ends)
    assert ends == [1009]
    assert isinstance(site.ends[0], UpstreamBrokenError)


@servers
@in_loop
async def test_too_large_a_message_of_the_client_closes_both_sides(kind: str) -> None:
    ends: list[int | None] = []

    async def watch(socket: ServerConnection) -> None:
        assert await socket.recv() == "x" * 1_000
        ends.append((await closed(socket))[0])

    async with chain(library(watch), kind, terms=Terms(max_size=1_000)) as (site, entry):
        async with client(entry) as socket:
            await socket.send("x" * 1_000)
            await socket.send("\u00e4" * 501)
            assert (await closed(socket))[0] == 1009
        await eventually(lambda: ends and site.ends)
    assert ends == [1009]
    assert site.ends == [None]


@pytest.mark.parametrize("kind", UVICORN)
@in_loop
async def test_a_limit_of_the_server_is_told_to_the_upstream(kind: str) -> None:
    ends: list[int | None] = []

    async def watch(socket: ServerConnection) -> None:
        ends.append((await closed(socket))[0])

    async with library(watch) as port, front(Site(at(port)), kind, ws_max_size=1_000) as entry:
        async with client(entry) as socket:
            await socket.send("x" * 1_001)
            assert (await closed(socket))[0] == 1009
        await eventually(lambda: ends)
    assert ends == [1009]


@in_loop
async def test_broken_frames_are_a_bad_gateway_and_told_to_the_upstream() -> None:
    seen: list[bytes] = []

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x81\x01\xff")
        seen.append(await reader.read(1_000))

    async with chain(raw(garbage)) as (site, entry), client(entry) as socket:
        assert await closed(socket) == (1014, "Bad Gateway")
        await eventually(lambda: site.ends)
    assert seen[0][:2] == b"\x88\x82"
    assert isinstance(site.ends[0], UpstreamBrokenError)


@servers
@in_loop
async def test_a_cancelled_application_closes_the_upstream(kind: str) -> None:
    ends: list[int | None] = []

    async def watch(socket: ServerConnection) -> None:
        ends.append((await closed(socket))[0])

    async with chain(library(watch), kind) as (site, entry), client(entry) as socket:
        site.tasks[0].cancel()
        await eventually(lambda: ends == [1001], SOON)
        assert isinstance(site.ends[0], asyncio.CancelledError)
        socket.transport.abort()


@in_loop
async def test_an_upstream_that_does_not_answer_our_close_is_cut() -> None:
    async with chain(raw(silence), terms=Terms(close=0.3)) as (site, entry):
        async with client(entry) as socket:
            await socket.close()
        assert 0.2 < await eventually(lambda: site.ends == [None]) < 0.6


@pytest.mark.parametrize("kind", UVICORN)
@in_loop
async def test_a_server_that_shuts_down_is_a_restart_to_both(kind: str) -> None:
    ends: list[int | None] = []

    async def watch(socket: ServerConnection) -> None:
        ends.append((await closed(socket))[0])

    async with library(watch) as port:
        async with front(Site(at(port)), kind) as entry:
            socket = await client(entry)
        assert (await closed(socket))[0] == 1012
        await eventually(lambda: ends == [1012])


@in_loop
async def test_a_send_that_raises_waits_for_the_code() -> None:
    ends: list[Any] = []
    go = asyncio.Event()

    async def talk(socket: ServerConnection) -> None:
        await go.wait()
        await socket.send("late")
        ends.append(await closed(socket))

    async with library(talk) as port:
        for says in (True, False):
            hand, site = Hand(), Site(at(port))
            task = asyncio.ensure_future(site(dict(SCOPE), hand.receive, hand.send))
            await eventually(lambda hand=hand: hand.heard)  # type: ignore[misc]  # of this round
            hand.lost = True
            go.set()
            if says:
                await asyncio.sleep(0.1)
                end = {"type": "websocket.disconnect", "code": 1012, "reason": "service restart"}
                hand.says.put_nowait(end)
                await task
            else:
                with pytest.raises(ConnectionAbortedError):
                    await task
            go.clear()
        await eventually(lambda: len(ends) == 2)
    assert ends == [(1012, "service restart"), (1001, "")]


@in_loop
async def test_nothing_waits_for_the_server_any_more() -> None:
    hand = Hand()
    await Site(at(free_port()))(dict(SCOPE), hand.receive, hand.send)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"headers": [(b"host", b"a"), (b"host", b"b")]}, 400),
        ({"path": "/a b", "raw_path": b"/a b"}, 400),
        ({"path": "ftp://metadata/", "raw_path": b"ftp://metadata/"}, 400),
        ({"headers": [(b"host", b"a"), (b"x", b"x" * 65_536)]}, 431),
    ],
)
@in_loop
async def test_what_cannot_be_passed_on_is_the_clients_mistake(
    change: Message, status: int
) -> None:
    hand = Hand()
    scope = {**SCOPE, **change, "extensions": {"websocket.http.response": {}}}
    await Site(at(free_port()))(scope, hand.receive, hand.send)
    assert [message.get("status") for message in hand.heard] == [status, None]


@pytest.mark.parametrize("wrong", [{"ping": 0}, {"close": float("inf")}, {"pong": float("nan")},
                                   {"max_size": 0}, {"max_size": 1.5}])  # fmt: skip
def test_terms_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"websocket.{next(iter(wrong))}"):
        Terms(**wrong)
