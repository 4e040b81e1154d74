"""Our cookies: for one mount point, never for script, never with what another site sends."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Scope, Send


class Cookie:
    """One cookie in the answer to one request.

    Args:
        name: of the cookie.
        scope: of the request; the panel is mounted at its ``root_path``.
        secure: whether the browser speaks TLS.
    """

    def __init__(self, name: str, scope: Scope, *, secure: bool) -> None:
        self._name, self._secure = name, secure
        self._path = scope.get("root_path") or "/"

    def put(self, answer: Response, value: str, life: int | None = None) -> None:
        """Set it, for so many seconds or until the browser is closed."""
        answer.set_cookie(
            self._name, value, max_age=life, path=self._path,
            secure=self._secure, httponly=True, samesite="strict",
        )  # fmt: skip

    def drop(self, answer: Response) -> None:
        """Take it away."""
        answer.delete_cookie(
            self._name, path=self._path, secure=self._secure, httponly=True, samesite="strict"
        )

    def adding(self, send: Send, value: str) -> Send:
        """A ``send`` that sets it with whatever answer there is."""
        carrier = Response()
        self.put(carrier, value)
        line = carrier.headers["set-cookie"]

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("Set-Cookie", line)
            await send(message)

        return with_cookie
