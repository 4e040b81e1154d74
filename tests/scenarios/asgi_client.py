"""A browser for an ASGI application in memory: cookies, and one event loop for its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Self

from tests.scenarios.asgi_driver import exchange, http_scope
from tests.scenarios.words import Ask, Reply


class Browser:
    """Sends requests one after the other; keeps cookies by name and forgets their attributes.

    Args:
        app: any ASGI application.
    """

    def __init__(self, app: Any) -> None:
        self.app = app
        self.jar: dict[str, str] = {}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        self._runner.close()

    def get(self, target: str, **headers: str) -> Reply:
        return self.request("GET", target, headers)

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        lines = [(name.replace("_", "-"), value) for name, value in (headers or {}).items()]
        if self.jar:
            lines.append(("cookie", "; ".join(f"{k}={v}" for k, v in self.jar.items())))
        scope = http_scope(Ask(target, method, lines))
        reply = self._runner.run(exchange(self.app, scope, body))
        for line in reply.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.jar[name] = value
        return reply

    def text(self, target: str) -> str:
        reply = self.get(target)
        assert (reply.status, reply.error) == (200, None)
        return reply.body.decode()
