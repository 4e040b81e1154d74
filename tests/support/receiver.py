"""The other end of a webhook: takes what is posted, and answers as it is told, or not at all."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support.servers import LOCALHOST


@dataclass(frozen=True)
class Message:
    """What was posted; names of headers in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Listens on a loopback port while it is entered.

    Attributes:
        mode: ``"ok"``, ``"hang"``, ``"drip"`` (a byte now and then), ``"close"`` (without an
            answer), ``"redirect"`` (to itself), ``"early"`` (after hints), or a status.
        answer: the body of 200.
        messages: in the order of their arrival.
    """

    def __init__(self, mode: str | int = "ok", answer: bytes = b"") -> None:
        self.mode = mode
        self.answer = answer
        self.headers: dict[str, str] = {}
        self.messages: list[Message] = []
        self.over = threading.Event()
        # A class of its own, as http.server makes a handler for each connection.
        handler = type("Handler", (_Handler,), {"receiver": self})
        self._server = ThreadingHTTPServer((LOCALHOST, 0), handler)
        self._server.daemon_threads = True
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook/s3cr3t") -> str:
        return f"http://{LOCALHOST}:{self.port}{path}"

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]

    @property
    def actions(self) -> list[str]:
        return [message.json["action"] for message in self.messages]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    receiver: ClassVar[Receiver]

    def do_POST(self) -> None:
        it = self.receiver
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        mode = it.mode
        it.messages.append(Message(self.path, headers, body))
        if mode == "hang":
            it.over.wait()
        elif mode == "drip":
            self._drip()
        elif mode == "close":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._answer(mode)

    def _answer(self, mode: str | int) -> None:
        if mode == "early":
            self.wfile.write(
                b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
            )
        status = {"ok": 200, "early": 200, "redirect": 307}.get(str(mode)) or int(mode)
        self.send_response(status)
        for name, value in self.receiver.headers.items():
            self.send_header(name, value)
        if mode == "redirect":
            self.send_header("location", self.receiver.url("/elsewhere"))
        self.send_header("content-length", str(len(self.receiver.answer)))
        self.end_headers()
        self.wfile.write(self.receiver.answer)

    def _drip(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nx-slow: " + b"x" * 100_000:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            if self.receiver.over.wait(0.02):
                return

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""
