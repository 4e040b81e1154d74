"""A server that speaks the protocol of Redis, or nearly: to every script it says the same."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType
from typing import Self

from tests.support.servers import LOCALHOST

SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"


class StrangeServer(socketserver.ThreadingTCPServer):
    """Listens on a loopback port while it is entered.

    Attributes:
        answer: to every script and plain command.
        push: sent after the answer to a subscription.
        url: where it is.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: bytes, push: bytes = b"") -> None:
        super().__init__((LOCALHOST, 0), Talk)
        self.answer = answer
        self.push = push
        self.url = f"redis://{LOCALHOST}:{self.server_address[1]}/0"
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown()
        self.server_close()


class Talk(socketserver.BaseRequestHandler):
    """One connection."""

    server: StrangeServer

    def handle(self) -> None:
        """Answer until the client leaves."""
        while asked := self.request.recv(65_536):
            if greetings := asked.count(b"SETINFO"):
                self.request.sendall(b"+OK\r\n" * greetings)
            elif b"SUBSCRIBE" in asked:
                self.request.sendall(SUBSCRIBED + self.server.push)
            else:
                self.request.sendall(self.server.answer)
