"""Visitors: HTTP clients that behave like browsers and share no code with the package.

A visitor keeps its cookies by hand and says what a browser would say about each request (Fetch
Metadata, https://www.w3.org/TR/fetch-metadata/). :class:`Visitor` blocks; :class:`AsyncVisitor`
shares the keep-alive connections of a :class:`Pool`, so that thousands fit in one process.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.servers import LOCALHOST

Headers = Sequence[tuple[str, str]]


def _fetch(site: str, mode: str, dest: str) -> Mapping[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}


NAVIGATION = {**_fetch("none", "navigate", "document"), "Sec-Fetch-User": "?1"}
SAME_ORIGIN_NAVIGATION = _fetch("same-origin", "navigate", "document")
CROSS_SITE_NAVIGATION = _fetch("cross-site", "navigate", "document")
"""With a GET a followed link; with a POST the way back from a payment page."""
FETCH = _fetch("same-origin", "cors", "empty")
CROSS_SITE_FETCH = _fetch("cross-site", "cors", "empty")
IMAGE = _fetch("same-origin", "no-cors", "image")
SCRIPT = _fetch("same-origin", "no-cors", "script")
STYLE = _fetch("same-origin", "no-cors", "style")
FRAME = _fetch("cross-site", "navigate", "iframe")
NO_METADATA: Mapping[str, str] = {}
"""An old browser, a command line client, a native app."""


@dataclass(frozen=True)
class Response:
    """One answer; header names as the server wrote them, in order, doubled ones too."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The only value of a header; doubled ones are an error here."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} more than once: {values}"
        return values[0] if values else None


@dataclass
class Cookies:
    """A cookie jar by hand: names, values, and the lines that set them.

    It sends ``Secure`` cookies over plain HTTP too, as browsers do for ``http://localhost``.
    """

    values: dict[str, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def header(self) -> Mapping[str, str]:
        line = "; ".join(f"{name}={value}" for name, value in self.values.items())
        return {"Cookie": line} if line else {}

    def take(self, response: Response) -> None:
        for line in response.all("Set-Cookie"):
            self.lines.append(line)
            pair, *attributes = line.split(";")
            name, _, value = pair.partition("=")
            if any(part.strip().lower() == "max-age=0" for part in attributes):
                self.values.pop(name.strip(), None)
            else:
                self.values[name.strip()] = value.strip()


class Visitor:
    """A blocking client with one keep-alive connection.

    Args:
        port: where the server listens.
        host: address to connect to.
        headers: sent with every request.
        timeout: seconds for each step on the socket.
    """

    def __init__(
        self,
        port: int,
        *,
        host: str = LOCALHOST,
        headers: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.cookies = Cookies()
        self._address = (host, port)
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._connection = self._connect()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=self._timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, fetch: Mapping[str, str] = NAVIGATION, **headers: str) -> Response:
        return self.request("GET", path, fetch=fetch, headers=headers)

    def post(self, path: str, body: bytes = b"", fetch: Mapping[str, str] = FETCH) -> Response:
        return self.request("POST", path, body, fetch=fetch)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        fetch: Mapping[str, str] = NAVIGATION,
        headers: Mapping[str, str] | None = None,
        with_cookies: bool = True,
    ) -> Response:
        """One exchange; ``with_cookies=False`` leaves them out, as a cross-site POST does.

        Raises:
            OSError, http.client.HTTPException: no complete answer; the next call connects anew.
        """
        cookies = self.cookies.header() if with_cookies else {}
        sent = {**self._headers, **fetch, **cookies, **(headers or {})}
        try:
            self._connection.request(method, path, body, sent)
            answer = self._connection.getresponse()
            response = Response(answer.status, answer.getheaders(), answer.read())
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        self.cookies.take(response)
        return response

    @contextmanager
    def stream(
        self, path: str, fetch: Mapping[str, str] = FETCH
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose body is read piece by piece, on a connection of its own."""
        with closing(self._connect()) as connection:
            headers = {**self._headers, **fetch, **self.cookies.header()}
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as answer:
                self.cookies.take(Response(answer.status, answer.getheaders(), b""))
                yield answer


class IncompleteError(ConnectionError):
    """The server closed the connection before the end of an answer."""


class Connection:
    """One HTTP/1.1 connection on raw streams; opened at the first request, reopened when closed."""

    def __init__(self, port: int, host: str = LOCALHOST) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """One exchange; a kept connection that the server has closed meanwhile is replaced once.

        Raises:
            IncompleteError: the connection ended within the answer.
            OSError: no connection.
        """
        reused = self._streams is not None
        message = self._message(method, path, headers, body)
        try:
            return await self._exchange(method, message)
        except (ClosedUnusedError, ConnectionResetError, BrokenPipeError):
            if not reused:
                raise
            return await self._exchange(method, message)

    def _message(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        sent = {"Host": f"{self._address[0]}:{self._address[1]}", **headers}
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {sent[name]}" for name in sent)]
        if body or method not in ("GET", "HEAD", "OPTIONS"):
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def _exchange(self, method: str, message: bytes) -> Response:
        complete = keep = False
        try:
            reader, writer = await self._open()
            writer.write(message)
            response = await _read_response(reader, method)
            complete, keep = True, (response.header("Connection") or "").lower() != "close"
            return response
        finally:
            if not (complete and keep):
                self.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class ClosedUnusedError(IncompleteError):
    """Closed before the first byte of an answer: the usual end of a kept connection."""


async def _read_response(reader: asyncio.StreamReader, method: str) -> Response:
    status, headers = await _read_head(reader)
    while 100 <= status < 200:
        status, headers = await _read_head(reader)
    head = Response(status, headers, b"")
    if method == "HEAD" or status in (204, 304):
        return head
    try:
        return Response(status, headers, await _read_body(reader, head))
    except asyncio.IncompleteReadError as error:
        raise IncompleteError(f"{status} cut short after {len(error.partial)} bytes") from error


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, Headers]:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        kind = IncompleteError if error.partial else ClosedUnusedError
        raise kind("closed before the end of the head") from error
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    pairs = (line.split(":", 1) for line in lines)
    return int(first.split()[1]), [(name, value.strip()) for name, value in pairs]


async def _read_body(reader: asyncio.StreamReader, head: Response) -> bytes:
    if (head.header("Transfer-Encoding") or "").lower() == "chunked":
        return b"".join([chunk async for chunk in _chunks(reader)])
    size = head.header("Content-Length")
    return await (reader.read() if size is None else reader.readexactly(int(size)))


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # a trailer


class Pool:
    """Some connections to one server, lent out one at a time: the bound of what runs at once."""

    def __init__(self, port: int, size: int = 16, host: str = LOCALHOST) -> None:
        self._all = [Connection(port, host) for _ in range(size)]
        self._idle: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        for connection in self._all:
            self._idle.put_nowait(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._all:
            connection.close()

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[Connection]:
        connection = await self._idle.get()
        try:
            yield connection
        finally:
            self._idle.put_nowait(connection)


class AsyncVisitor:
    """A browser's cookies and habits on the connections of a pool; cheap enough for thousands.

    Args:
        pool: where to send requests; may be exchanged during a rolling restart.
        headers: sent with every request.
    """

    def __init__(self, pool: Pool, headers: Mapping[str, str] | None = None) -> None:
        self.cookies = Cookies()
        self.pool = pool
        self._headers = dict(headers or {})

    async def get(
        self, path: str, fetch: Mapping[str, str] = NAVIGATION, **headers: str
    ) -> Response:
        return await self.request("GET", path, fetch=fetch, headers=headers)

    async def post(
        self, path: str, body: bytes = b"", fetch: Mapping[str, str] = FETCH
    ) -> Response:
        return await self.request("POST", path, body, fetch=fetch)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        fetch: Mapping[str, str] = NAVIGATION,
        headers: Mapping[str, str] | None = None,
        with_cookies: bool = True,
    ) -> Response:
        """One exchange; cookies are read when it is sent, and kept when its answer is complete."""
        async with self.pool.lend() as connection:
            cookies = self.cookies.header() if with_cookies else {}
            sent = {**self._headers, **fetch, **cookies, **(headers or {})}
            response = await connection.request(method, path, sent, body)
        self.cookies.take(response)
        return response

    async def page(self, path: str, parts: Sequence[str]) -> list[Response]:
        """A navigation and its subresources, all sent at once without waiting for a cookie."""
        kinds = (IMAGE, SCRIPT, STYLE)
        subresources = (self.get(part, kinds[i % 3]) for i, part in enumerate(parts))
        return await asyncio.gather(self.get(path), *subresources)
