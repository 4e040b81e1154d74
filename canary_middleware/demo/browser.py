"""A browser's end of HTTP/1.1 on raw streams: keep-alive, one cookie jar, Fetch Metadata.

It shares no code with the package, so that what it sees is what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

PATIENCE: Final = 15.0
"""Seconds for one exchange."""

NAVIGATION: Final = {
    "Sec-Fetch-Site": "same-site",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}
FETCH: Final = {
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}


class ExchangeError(Exception):
    """No complete answer, or not the kind that the shops send."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; header names in lower case, each once."""

    status: int
    headers: Mapping[str, str]
    body: str


class Connection:
    """One kept connection, opened at the first request."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    async def request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes = b""
    ) -> Response:
        """One exchange.

        Raises:
            ExchangeError: no complete answer in time.
        """
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        message = "\r\n".join([*lines, "", ""]).encode() + body
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._exchange(message)
        except (OSError, EOFError, ValueError, LookupError) as error:
            self.close()
            raise ExchangeError(f"{method} {path}: {type(error).__name__} {error}") from error

    async def _exchange(self, message: bytes) -> Response:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(message)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Response(int(first.split()[1]), headers, body.decode())

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Jar:
    """The cookies of one host; ports share them (RFC 6265 section 8.5)."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def headers(self) -> dict[str, str]:
        """The Cookie header to send."""
        line = "; ".join(f"{name}={value}" for name, value in self._values.items())
        return {"Cookie": line} if line else {}

    def take(self, response: Response) -> None:
        """Keep what an answer sets."""
        name, there, value = response.headers.get("set-cookie", "").partition(";")[0].partition("=")
        if there:
            self._values[name.strip()] = value.strip()
