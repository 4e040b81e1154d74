"""Who does not read, who does not answer, and what is held meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from canary_middleware.upstream.passage import UpstreamBrokenError
from canary_middleware.upstream.websocket_link import Link, Terms
from tests.upstream.websocket_rig import (
    SCOPE,
    UVICORN,
    Hand,
    Site,
    at,
    chain,
    client,
    closed,
    echo,
    eventually,
    in_loop,
    library,
    raw,
    silence,
)

servers = pytest.mark.parametrize("kind", [*UVICORN, "hypercorn"])
SOON = 1.0
"""Seconds within which the end of one side is the end of the other."""
MIB = 2**20


@in_loop
async def test_an_idle_websocket_is_kept_alive_and_a_silent_upstream_is_cut() -> None:
    terms = Terms(ping=0.1, pong=0.2)
    async with chain(library(echo), terms=terms) as (site, entry), client(entry) as socket:
        await asyncio.sleep(1)
        await socket.send("still here")
        assert await socket.recv() == "still here"
    async with chain(raw(silence), terms=terms) as (site, entry), client(entry) as socket:
        loop = asyncio.get_running_loop()
        start = loop.time()
        assert await closed(socket) == (1014, "Bad Gateway")
        assert 0.25 < loop.time() - start < 0.6
        await eventually(lambda: site.ends)
    assert isinstance(site.ends[0], UpstreamBrokenError)


@in_loop
async def test_a_client_that_does_not_read_is_no_silence_of_the_upstream() -> None:
    sent = 0

    async def flood(socket: ServerConnection) -> None:
        nonlocal sent
        for _ in range(40):
            await socket.send(bytes(MIB))
            sent += 1
        await socket.close(1000, "all")

    way = chain(library(flood, ping_interval=None), terms=Terms(ping=0.1, pong=0.1))
    async with way as (_, entry), client(entry, max_queue=1) as socket:
        await asyncio.sleep(1)
        assert 0 < sent < 40
        assert [len(message) async for message in socket] == [MIB] * 40
        assert await closed(socket) == (1000, "all")


async def pushed(send: Callable[[bytes], Awaitable[Any]]) -> int:
    """Send until nobody takes more; gives the bytes that were taken."""
    taken = 0
    try:
        while taken < 256 * MIB:
            async with asyncio.timeout(1):
                await send(bytes(64 * 1024))
            taken += 64 * 1024
    except TimeoutError:
        pass
    return taken


@servers
@in_loop
async def test_a_client_that_does_not_read_stops_the_upstream(kind: str) -> None:
    taken: list[int] = []

    async def flood(socket: ServerConnection) -> None:
        taken.append(await pushed(socket.send))
        socket.transport.abort()

    way = chain(library(flood, write_limit=1), kind)
    async with way as (_, entry), client(entry, max_queue=1, close_timeout=0.1) as socket:
        await eventually(lambda: taken, 20)
        socket.transport.abort()
    assert taken[0] < 32 * MIB
    print(f"\n{kind}: {taken[0] / MIB:.1f} MiB taken ahead of the client")


@servers
@in_loop
async def test_an_upstream_that_does_not_read_stops_the_client(kind: str) -> None:
    over = asyncio.Event()

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        await reader.read()

    way = chain(raw(stalled), kind, terms=Terms(close=0.2))
    async with way as (site, entry):
        async with client(entry, write_limit=1) as socket:
            taken = await pushed(socket.send)
            over.set()
        await eventually(lambda: site.ends == [None])
    assert taken < 32 * MIB
    print(f"\n{kind}: {taken / MIB:.1f} MiB taken ahead of the upstream")


@pytest.mark.parametrize("kind", UVICORN)
@in_loop
async def test_an_upstream_that_is_cut_while_it_does_not_read_is_a_bad_gateway(kind: str) -> None:
    over = asyncio.Event()

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.transport.abort()

    async with chain(raw(stalled), kind) as (site, entry), client(entry) as socket:
        await pushed(socket.send)
        over.set()
        async with asyncio.timeout(SOON):
            assert await closed(socket) == (1014, "Bad Gateway")
        await eventually(lambda: site.ends)
    assert isinstance(site.ends[0], UpstreamBrokenError)


@in_loop
async def test_a_client_may_leave_while_the_upstream_does_not_read() -> None:
    ended = asyncio.Event()

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        await reader.read()
        ended.set()

    async with chain(raw(stalled), terms=Terms(close=0.2)) as (site, entry):
        async with client(entry) as socket:
            await socket.send(bytes(15 * MIB))
            await asyncio.sleep(0.2)
            socket.transport.abort()
        await eventually(lambda: site.ends == [None], SOON)
        await eventually(ended.is_set)


@in_loop
async def test_an_upstream_that_pings_without_reading_is_cut() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write((b"\x89\x7d" + bytes(125)) * 512)
            await writer.drain()

    async with chain(raw(flood)) as (site, entry), client(entry) as socket:
        assert await closed(socket) == (1014, "Bad Gateway")
        await eventually(lambda: site.ends)
    assert isinstance(site.ends[0], UpstreamBrokenError)


@in_loop
async def test_an_upstream_that_reads_nothing_does_not_keep_what_was_for_it() -> None:
    over, sizes = asyncio.Event(), list[int]()

    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        size = 0
        try:
            while data := await reader.read(MIB):
                size += len(data)
        finally:
            sizes.append(size)

    async with raw(stalled) as port:
        hand, site = Hand(), Site(at(port), terms=Terms(close=0.2))
        task = asyncio.ensure_future(site(dict(SCOPE), hand.receive, hand.send))
        hand.says.put_nowait({"type": "websocket.receive", "bytes": bytes(15 * MIB)})
        await eventually(lambda: hand.says.empty() and hand.heard)
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0.3)
        over.set()
        await eventually(lambda: sizes)
    assert sizes[0] < 15 * MIB


@in_loop
async def test_nothing_is_kept_of_those_that_are_over() -> None:
    async with chain(library(echo)) as (site, entry):
        for _ in range(5):
            async with client(entry) as socket:
                await socket.send("x")
                await socket.recv()
        await eventually(lambda: len(site.ends) == 5)
        site.tasks.clear()
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Link)]
