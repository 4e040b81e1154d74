"""The hooks of HTTP clients against a real server: who gets the headers, and who never does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
import httpx2
import pytest
import requests

from canary_middleware.core.active import active_visit
from canary_middleware.core.service import BAGGAGE, HEADER
from canary_middleware.errors import ConfigurationError
from canary_middleware.frameworks.aiohttp import carrying
from canary_middleware.frameworks.httpx import async_request_hook, request_hook
from canary_middleware.frameworks.requests import carry
from canary_middleware.outbound import Outbound, outbound_headers
from tests.engine.world import ALL, under

OURS, OTHER = "127.0.0.1", "localhost"
"""Two names of one server."""
FOREIGN = "tenant=7, canary.checkout=9"


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers that it got, or sends elsewhere."""

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if "to" in query:
            self.send_response(302)
            self.send_header("Location", query["to"][0])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextmanager
def exposed() -> Iterator[Mapping[str, str]]:
    """Inside of a request whose visitor is on the canary; gives what it has to carry."""
    visit = under(ALL).visit()
    visit.expose("checkout")
    token = active_visit.set(visit)
    try:
        yield outbound_headers()
    finally:
        active_visit.reset(token)


Headers = Mapping[str, str]
Ask = Callable[[str, Headers], Any]
HOSTS = [OURS]


def by_httpx(url: str, headers: Headers) -> Any:
    hooks = {"request": [request_hook(hosts=HOSTS)]}
    with httpx.Client(event_hooks=hooks, follow_redirects=True) as client:
        return client.get(url, headers=headers).json()


def by_httpx2(url: str, headers: Headers) -> Any:
    hooks = {"request": [request_hook(hosts=HOSTS)]}
    with httpx2.Client(event_hooks=hooks, follow_redirects=True) as client:
        return client.get(url, headers=headers).json()


def by_requests(url: str, headers: Headers) -> Any:
    with requests.Session() as session:
        carry(session, hosts=HOSTS)
        return session.get(url, headers=dict(headers), timeout=5).json()


def awaited(ask: Callable[[str, Headers], Awaitable[Any]]) -> Ask:
    async def answer(url: str, headers: Headers) -> Any:
        return await ask(url, headers)

    return lambda url, headers: asyncio.run(answer(url, headers))


async def by_async_httpx(url: str, headers: Headers) -> Any:
    hooks = {"request": [async_request_hook(hosts=HOSTS)]}
    async with httpx.AsyncClient(event_hooks=hooks, follow_redirects=True) as client:
        return (await client.get(url, headers=headers)).json()


async def by_async_httpx2(url: str, headers: Headers) -> Any:
    hooks = {"request": [async_request_hook(hosts=HOSTS)]}
    async with httpx2.AsyncClient(event_hooks=hooks, follow_redirects=True) as client:
        return (await client.get(url, headers=headers)).json()


async def by_aiohttp(url: str, headers: Headers) -> Any:
    async with (
        aiohttp.ClientSession(middlewares=[carrying(hosts=HOSTS)]) as session,
        session.get(url, headers=headers) as answer,
    ):
        return await answer.json(content_type=None)


CLIENTS: Mapping[str, Ask] = {
    "httpx": by_httpx,
    "httpx2": by_httpx2,
    "requests": by_requests,
    "async httpx": awaited(by_async_httpx),
    "async httpx2": awaited(by_async_httpx2),
    "aiohttp": awaited(by_aiohttp),
}


@pytest.fixture(params=CLIENTS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return CLIENTS[request.param]


def test_a_named_host_gets_what_a_request_has_to_carry(ask: Ask, port: int) -> None:
    with exposed() as ours:
        got = ask(f"http://{OURS}:{port}/", {})
    assert got[HEADER.lower()] == ours[HEADER]
    assert got[BAGGAGE] == "canary.checkout=2"


def test_baggage_of_the_request_is_kept(ask: Ask, port: int) -> None:
    with exposed():
        got = ask(f"http://{OURS}:{port}/", {"Baggage": FOREIGN})
    assert got[BAGGAGE] == "tenant=7,canary.checkout=2"


def test_nobody_else_gets_anything(ask: Ask, port: int) -> None:
    with exposed() as ours:
        plain = ask(f"http://{OTHER}:{port}/", {})
        copied = ask(f"http://{OTHER}:{port}/", {**ours, "baggage": FOREIGN})
    assert not {HEADER.lower(), BAGGAGE} & plain.keys()
    assert (copied.get(HEADER.lower()), copied[BAGGAGE]) == (None, "tenant=7")


def test_a_redirect_takes_nothing_along_to_another_host(ask: Ask, port: int) -> None:
    with exposed() as ours:
        away = ask(f"http://{OURS}:{port}/?to=http://{OTHER}:{port}/", {})
        back = ask(f"http://{OTHER}:{port}/?to=http://{OURS}:{port}/", {})
    assert not {HEADER.lower(), BAGGAGE} & away.keys()
    assert back[HEADER.lower()] == ours[HEADER]


def test_outside_of_a_request_nothing_is_added(ask: Ask, port: int) -> None:
    got = ask(f"http://{OURS}:{port}/", {"Baggage": FOREIGN})
    assert (got.get(HEADER.lower()), got[BAGGAGE]) == (None, "tenant=7")


@pytest.mark.parametrize("hosts", [[], "orders.internal", ["*"], ["*.internal"], [""], [None],
                                   ["http://orders.internal"], ["orders.internal/"]])  # fmt: skip
def test_hosts_are_names(hosts: Any) -> None:
    with pytest.raises(ConfigurationError, match="does not name hosts"):
        Outbound(hosts)


def test_a_name_may_come_with_its_port() -> None:
    outbound = Outbound(["Orders.Internal.", "stock.internal:8443"])
    assert outbound.allows("orders.internal", 80)
    assert outbound.allows("ORDERS.internal.")
    assert outbound.allows("stock.internal", 8443)
    assert not outbound.allows("stock.internal", 443)
    assert not outbound.allows("stock.internal")
    assert not outbound.allows("evil-orders.internal")
    assert not outbound.allows(None)
