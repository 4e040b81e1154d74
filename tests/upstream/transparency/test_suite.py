"""The suite finds what a proxy does wrong, and finds nothing where there is none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from tests.upstream.transparency.case import Case
from tests.upstream.transparency.expect import Same
from tests.upstream.transparency.suite import Report, judge
from tests.upstream.transparency.table import CASES

COMPARED = tuple(case for case in CASES if isinstance(case.expect, Same))
HARM = {
    "decodes the path": ({b"%2F": b"/"}, {}, {"target-slash-encoded"}),
    "changes the case of escapes": ({b"%c3%a4": b"%C3%A4"}, {}, {"target-percent-lower"}),
    "merges slashes": ({b"//a///b//": b"/a/b/"}, {}, {"target-double-slash"}),
    "resolves dots": ({b"/a/./b/../c": b"/a/c"}, {}, {"target-dots"}),
    "loses an empty query": ({b"~? HTTP": b"~ HTTP"}, {}, {"target-query-empty"}),
    "invents a header": ({b"Host: ": b"Accept: */*\r\nHost: "}, {}, {"method-get", "body-post"}),
    "loses the body of a DELETE": (
        {b"Content-Length: 7\r\n\r\na=1&b=2": b"\r\n"}, {}, {"body-delete", "body-get"},
    ),
    "joins cookies": ({b"\r\nCookie: b=2": b"; b=2"}, {}, {"header-cookie-lines"}),
    "folds Set-Cookie": (
        {}, {b"\r\nset-cookie: a=3": b", a=3", b"Set-Cookie: b=2": b"Set-Cookie: b=3"},
        {"answer-set-cookie-lines"},
    ),
    "writes its own reason": ({}, {b"404 OK": b"404 Not Found"}, {"status-reason-wrong"}),
    "drops early hints": (
        {}, {b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n": b""},
        {"interim-103", "interim-103-then-404"},
    ),
    "decompresses": ({}, {b"Content-Encoding: gzip\r\n": b""}, {"framing-gzip"}),
    "drops trailers": ({}, {b"X-Sum: 2\r\n": b""}, {"framing-chunked-trailers"}),
}  # fmt: skip


@asynccontextmanager
async def relay(
    origin: int, up: Mapping[bytes, bytes], down: Mapping[bytes, bytes]
) -> AsyncIterator[int]:
    """Passes bytes on as they are, but for what it is told to replace in every piece."""

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changes: Mapping[bytes, bytes]
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(2**20):
                for old, new in changes.items():
                    data = data.replace(old, new)
                writer.write(data)
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await asyncio.open_connection("127.0.0.1", origin, limit=2**20)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, upstream[1], up), pump(upstream[0], writer, down))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def through(
    cases: tuple[Case, ...], up: Mapping[bytes, bytes], down: Mapping[bytes, bytes]
) -> Report:
    return asyncio.run(judge(cases, (), partial(relay, up=up, down=down)))


def test_bytes_that_are_passed_on_as_they_are_differ_in_nothing() -> None:
    report = through(COMPARED, {}, {})
    assert {name: report.verdicts[name].wrong for name in report.failing} == {}
    assert not report.reasons
    assert report.strangers == ()


@pytest.mark.parametrize("harm", HARM)
def test_each_harm_is_found(harm: str) -> None:
    up, down, found = HARM[harm]
    some = tuple(case for case in COMPARED if case.name in found | {"target-plain"})
    report = through(some, up, down)
    assert found <= report.failing
    if b"Host: " not in up:
        assert "target-plain" not in report.failing


def test_an_answer_that_only_looks_complete_is_no_cut() -> None:
    cases = tuple(case for case in CASES if case.name == "close-between-chunks")
    ended = {b"12345\r\n": b"12345\r\n0\r\n\r\n"}
    assert through(cases, {}, {}).failing == set()
    assert through(cases, {}, ended).failing == {"close-between-chunks"}


def test_a_request_that_can_be_read_in_two_ways_must_not_arrive() -> None:
    cases = tuple(case for case in CASES if case.name in {"cl-and-te", "nul-in-value"})
    assert through(cases, {}, {}).failing == {"cl-and-te", "nul-in-value"}


def test_poison_of_a_connection_that_is_used_again_is_found() -> None:
    """One connection for all clients, as of the most careless of proxies."""
    cases = tuple(case for case in CASES if case.name == "stray-at-once")
    report = asyncio.run(judge(cases, (), careless))
    assert report.failing == {"stray-at-once"}


@asynccontextmanager
async def careless(origin: int) -> AsyncIterator[int]:
    upstream, out = await asyncio.open_connection("127.0.0.1", origin)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        out.write(await reader.readuntil(b"\r\n\r\n"))
        head = await upstream.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
        writer.write(head + await upstream.readexactly(length))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        out.close()


def test_the_table_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 200
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []
