"""The connections of the ASGI application on a real server: how many, to what, for how long."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.errors import ConfigurationError
from canary_middleware.upstream.address import parse
from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.site import Site, UnreachableError
from tests.support.servers import free_port, wait_until
from tests.support.tls import issue
from tests.upstream.asgi_rig import App, Front, Lifespan, connections
from tests.upstream.origins import Origin, Peer, answering, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.3, start=0.5, idle=0.5, total=2.0)


def slowly(peer: Peer) -> None:
    while head := peer.head():
        peer.over.wait(0.02)
        peer.send(text(head.split()[1]))


def crowd(front: Front, requests: int) -> list[tuple[int, bool]]:
    """Requests at once: their status, and whether the answer was their own."""

    def one(number: int) -> tuple[int, bool]:
        got = front.ask(f"/{number}")
        return got.status, got.body == b"/%d" % number

    with ThreadPoolExecutor(requests) as pool:
        return list(pool.map(one, range(requests)))


def test_those_above_the_limit_wait_for_their_turn(front: Front) -> None:
    with front.passing(slowly, connections=2) as origin:
        assert crowd(front, 20) == [(200, True)] * 20
        assert len(origin.peers) <= 2


def test_those_above_the_queue_are_told_at_once(front: Front) -> None:
    with front.passing(slowly, connections=1, waiting=5):
        seen = [status for status, _ in crowd(front, 20)]
        assert set(seen) == {200, 503}
        assert 6 <= seen.count(200) < 20


def test_nobody_waits_for_ever(front: Front) -> None:
    with front.passing(silent, connections=1, timeouts=QUICK):
        begun = time.monotonic()
        assert sorted(status for status, _ in crowd(front, 3)) == [503, 503, 504]
        assert time.monotonic() - begun < QUICK.total


def test_connections_are_used_again_and_left_when_they_grow_old(front: Front) -> None:
    with front.passing(answering(*[OK] * 30), idle=0.2) as origin:
        assert [front.ask().status for _ in range(20)] == [200] * 20
        assert len(origin.peers) == 1
        wait_until(lambda: not connections(origin.port), timeout=3)
        assert front.ask().status == 200
        assert len(origin.peers) == 2


@pytest.mark.alone
def test_a_request_that_is_cancelled_leaves_nothing(front: Front) -> None:
    def impatient(upstream: App) -> App:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await upstream(scope, receive, send)
                return
            try:
                async with asyncio.timeout(0.1):
                    await upstream(scope, receive, send)
            except TimeoutError:
                await send({"type": "http.response.start", "status": 299, "headers": []})
                await send({"type": "http.response.body"})

        return app

    def script(peer: Peer) -> None:
        while head := peer.head():
            peer.send(OK) if b"/now" in head else peer.over.wait(0.3)

    with front.passing(script, impatient, connections=1, waiting=2) as origin:
        for _ in range(3):
            assert front.ask("/later").status == 299
            wait_until(lambda: not connections(origin.port), timeout=0.2)
            with ThreadPoolExecutor(2) as pool:  # one in the connection, one in the queue
                later = [pool.submit(front.ask, "/later") for _ in range(2)]
                assert [one.result().status for one in later] == [299, 299]
            assert front.ask("/now").body == b"hello"


def test_one_that_comes_back_is_found_and_both_are_told_once(front: Front) -> None:
    port = free_port()
    with front.serving(AsgiUpstream(f"http://127.0.0.1:{port}", timeouts=QUICK)):
        assert [front.ask().status for _ in range(5)] == [502] * 5
        with Origin(answering(*[OK] * 999), socket.create_server(("127.0.0.1", port))):
            wait_until(lambda: front.ask().status == 200 and len(front.lines) > 1, timeout=3)
            assert [front.ask().status for _ in range(5)] == [200] * 5
        assert [line.split(": ")[1] for line in front.lines] == ["degraded", "recovered"]
        assert f"127.0.0.1:{port}" in front.lines[0]


@pytest.mark.parametrize("hosts", [("localhost", "127.0.0.1"), ("other.example",)])
def test_an_upstream_behind_tls_is_the_one_that_its_certificate_names(
    front: Front, tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    issued = issue(tmp_path, "origin", *hosts)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)

    def wrap(sock: socket.socket) -> socket.socket:
        return context.wrap_socket(sock, server_side=True)

    trusting = ssl.create_default_context(cafile=issued.authority)
    with Origin(answering(*[OK] * 9), wrap=wrap) as origin:
        for url, tls, right in [
            (f"https://127.0.0.1:{origin.port}", trusting, len(hosts) > 1),
            (f"https://localhost:{origin.port}", trusting, len(hosts) > 1),
            (f"https://127.0.0.1:{origin.port}", None, False),
        ]:
            with front.serving(AsgiUpstream(url, tls=tls)):
                got = [(front.ask().status, front.ask("/", "POST", b"").status) for _ in range(2)]
                assert got == [(200, 200) if right else (502, 502)] * 2
            assert not connections(origin.port)


def test_a_unix_socket(front: Front, tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "app.sock"))
    server.listen()
    with (
        Origin(answering(*[OK] * 3), server) as origin,
        front.serving(AsgiUpstream(f"unix:{tmp_path}/app.sock")),
    ):
        assert [front.ask().body for _ in range(3)] == [b"hello"] * 3
        assert len(origin.peers) == 1


def test_an_address_of_ipv6(front: Front) -> None:
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port = server.getsockname()[1]
    with (
        Origin(answering(OK, OK), server) as origin,
        front.serving(AsgiUpstream(f"http://[::1]:{port}", preserve_host=False)),
    ):
        assert [front.ask().body for _ in range(2)] == [b"hello"] * 2
        assert b"Host: [::1]:%d" % port in origin.heads[0]


def test_tls_for_an_upstream_without_it_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="https"):
        AsgiUpstream("http://a", tls=ssl.create_default_context())


# --- loops of their own ---------------------------------------------------------------------------


def request(path: str = "/") -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"host", b"a")], "http_version": "1.1",
        "client": ("192.0.2.1", 1),
    }  # fmt: skip


async def served(upstream: AsgiUpstream) -> int:
    """The status of an answer, without a server."""
    said: asyncio.Queue[Any] = asyncio.Queue()

    async def receive() -> Any:
        await asyncio.Event().wait()

    await upstream(request(), receive, said.put)
    status: int = said.get_nowait()["status"]
    return status


def test_each_event_loop_has_connections_of_its_own() -> None:
    with Origin(answering(*[OK] * 9)) as origin:
        upstream = AsgiUpstream(origin.url)

        async def twice() -> None:
            life = Lifespan(upstream)
            await life.start()
            assert [await served(upstream), await served(upstream)] == [200, 200]
            await life.stop()

        def loop(_: int) -> None:
            asyncio.run(twice())

        for number in range(2):
            loop(number)
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(loop, range(3)))
        assert len(origin.peers) == 5
        wait_until(lambda: not connections(origin.port))


def in_a_site(
    script: Callable[[Peer], object], work: Callable[[Site, Origin], Any], limit: int = 1
) -> None:
    async def run(origin: Origin) -> None:
        site = Site(
            parse(origin.url), Health(), None, connections=limit, waiting=5, idle=9, connect=0.5
        )
        try:
            await work(site, origin)
        finally:
            site.close()

    with Origin(script) as origin:
        asyncio.run(run(origin))
        wait_until(lambda: not connections(origin.port))


def test_a_connection_that_dies_on_its_way_to_a_waiter_is_not_used() -> None:
    async def work(site: Site, origin: Origin) -> None:
        link = await site.take()
        waiter = asyncio.create_task(site.take())
        await asyncio.sleep(0)
        site.release(link, reusable=True)  # handed over, and the waiter has not run yet
        link.eof_received()
        other = await waiter
        assert other is not link
        assert other.alive
        site.release(other, reusable=False)

    in_a_site(silent, work)


def test_what_is_given_back_after_the_end_is_closed() -> None:
    async def work(site: Site, origin: Origin) -> None:
        link = await site.take()
        waiter = asyncio.create_task(site.take())
        await asyncio.sleep(0)
        site.close()
        with pytest.raises(UnreachableError):
            await waiter
        site.release(link, reusable=True)
        assert not link.alive

    in_a_site(silent, work)


def test_one_who_leaves_at_the_moment_of_its_turn_passes_it_on() -> None:
    async def work(site: Site, origin: Origin) -> None:
        link = await site.take()
        first, second = (asyncio.create_task(site.take()) for _ in range(2))
        await asyncio.sleep(0)
        site.release(link, reusable=True)
        first.cancel()
        assert await second is link
        with contextlib.suppress(asyncio.CancelledError):
            await first
        site.release(link, reusable=True)

    in_a_site(silent, work)


async def shaken(upstream: AsgiUpstream) -> int:
    """The status of the answer to a handshake, without a server."""
    says: asyncio.Queue[Any] = asyncio.Queue()
    said: asyncio.Queue[Any] = asyncio.Queue()
    says.put_nowait({"type": "websocket.connect"})
    scope = request() | {
        "type": "websocket", "subprotocols": [], "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await upstream(scope, says.get, said.put)
    status: int = said.get_nowait()["status"]
    return status


def test_websockets_and_requests_tell_each_other_of_an_upstream_that_refuses() -> None:
    port = free_port()

    async def both() -> None:
        for first, second in [(shaken, served), (served, shaken)]:
            upstream = AsgiUpstream(f"http://127.0.0.1:{port}")
            assert await first(upstream) == 502
            with Origin(silent, socket.create_server(("127.0.0.1", port))) as origin:
                assert await second(upstream) == 502
                assert not origin.peers

    asyncio.run(both())
