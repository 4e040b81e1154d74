from __future__ import annotations

import asyncio
import http.client
import itertools
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.clients import (
    FETCH,
    IMAGE,
    NAVIGATION,
    AsyncVisitor,
    ClosedUnusedError,
    IncompleteError,
    Pool,
    Response,
    Visitor,
)


class Site(BaseHTTPRequestHandler):
    """Draws an id for whoever has none; every path answers in another framing of HTTP/1.1."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet per answer: no waiting for a delayed acknowledgement
    ids = itertools.count()
    connections = itertools.count()

    def setup(self) -> None:
        super().setup()
        self.number = next(self.connections)

    def do_GET(self) -> None:
        answer: Callable[[], None] = getattr(self, f"answer_{self.path[1:]}")
        answer()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.send(self.rfile.read(int(self.headers["Content-Length"])))

    def send(self, body: bytes, **headers: str) -> None:
        self.send_response(200)
        if "id=" not in self.headers.get("Cookie", ""):
            self.send_header("Set-Cookie", f"id={next(self.ids)}; Path=/; HttpOnly")
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_echo(self) -> None:
        self.send("".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode())

    def answer_connection(self) -> None:
        self.send(str(self.number).encode())

    def answer_forget(self) -> None:
        self.send(b"", Set_Cookie="id=; Max-Age=0")

    def answer_hinted(self) -> None:
        self.send_response_only(103)
        self.send_header("Link", "</style.css>")
        self.end_headers()
        self.answer_chunked()

    def answer_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nfoo\r\n4;x=y\r\nbar!\r\n0\r\nTrailer: t\r\n\r\n")

    def answer_empty(self) -> None:
        self.send_response(204)
        self.end_headers()

    def answer_closed(self) -> None:
        """Promise to keep the connection, then close it, as a server at its idle limit does."""
        self.send(b"last")
        self.close_connection = True

    def answer_short(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"12345")

    def answer_silent(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is inherited
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def alone(port: int, method: str, path: str, body: bytes = b"") -> Response:
    """One request of a fresh asynchronous visitor."""

    async def run() -> Response:
        async with Pool(port, size=1) as pool:
            return await AsyncVisitor(pool).request(method, path, body)

    return asyncio.run(run())


def test_a_visitor_keeps_its_cookie_and_can_withhold_it(port: int) -> None:
    with Visitor(port) as visitor:
        first = visitor.get("/echo")
        assert "Cookie" not in first.text
        cookie = f"Cookie: id={visitor.cookies.values['id']}"
        assert cookie in visitor.get("/echo").text
        assert "Cookie" not in visitor.request("GET", "/echo", with_cookies=False).text
        visitor.get("/forget")
        assert visitor.cookies.values == {}
        assert len(visitor.cookies.lines) == 3


def test_what_a_browser_says_about_a_request(port: int) -> None:
    with Visitor(port, headers={"X-User": "ann"}) as visitor:
        assert "Sec-Fetch-Mode: navigate" in visitor.get("/echo").text
        image = visitor.get("/echo", IMAGE, Accept="image/*").text
        assert "Sec-Fetch-Dest: image" in image
        assert "Accept: image/*" in image
        assert "X-User: ann" in image


def test_a_stream_is_read_piece_by_piece(port: int) -> None:
    with Visitor(port) as visitor, visitor.stream("/chunked") as answer:
        assert (answer.read(3), answer.read()) == (b"foo", b"bar!")


def test_a_blocking_visitor_connects_again_after_a_failure(port: int) -> None:
    with Visitor(port) as visitor:
        with pytest.raises(http.client.IncompleteRead):
            visitor.get("/short")
        assert visitor.post("/", b"body").body == b"body"


def test_framings_of_http(port: int) -> None:
    assert alone(port, "GET", "/chunked").body == b"foobar!"
    assert alone(port, "GET", "/hinted").body == b"foobar!"
    assert alone(port, "GET", "/empty").status == 204
    assert alone(port, "HEAD", "/echo").body == b""
    assert alone(port, "POST", "/", b"body").body == b"body"


@pytest.mark.parametrize(
    ("path", "error"), [("/short", IncompleteError), ("/silent", ClosedUnusedError)]
)
def test_a_broken_answer_is_an_error(port: int, path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        alone(port, "GET", path)


def test_a_kept_connection_is_used_again_and_replaced_when_closed(port: int) -> None:
    async def run() -> None:
        async with Pool(port, size=1) as pool:
            visitor = AsyncVisitor(pool)
            first = (await visitor.get("/connection")).text
            assert (await visitor.get("/connection")).text == first
            await visitor.get("/closed")
            assert (await visitor.get("/connection")).text != first

    asyncio.run(run())


def test_a_thousand_visitors_on_eight_connections(port: int) -> None:
    async def run() -> list[AsyncVisitor]:
        async with Pool(port, size=8) as pool:
            visitors = [AsyncVisitor(pool) for _ in range(1000)]
            await asyncio.gather(*(visitor.get("/connection") for visitor in visitors))
            return visitors

    before = next(Site.connections)
    ids = {visitor.cookies.values["id"] for visitor in asyncio.run(run())}
    assert len(ids) == 1000
    assert next(Site.connections) - before <= 9


def test_a_page_sends_its_parts_before_any_cookie_is_there(port: int) -> None:
    async def run() -> list[Response]:
        async with Pool(port, size=4) as pool:
            return await AsyncVisitor(pool).page("/echo", ["/echo"] * 3)

    page, *parts = asyncio.run(run())
    assert NAVIGATION["Sec-Fetch-Dest"] in page.text
    assert all("Cookie" not in part.text for part in parts)
    assert FETCH["Sec-Fetch-Dest"] not in page.text


def test_a_doubled_header_is_not_taken_for_one() -> None:
    response = Response(200, [("Vary", "Cookie"), ("vary", "Accept")], b"")
    assert response.all("VARY") == ["Cookie", "Accept"]
    with pytest.raises(AssertionError, match="more than once"):
        response.header("Vary")
