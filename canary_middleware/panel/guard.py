"""The guard: runs before every route but those for strangers, and lets nobody pass by default."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from math import ceil
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canary_middleware.engine.views import app_path
from canary_middleware.panel import forgery
from canary_middleware.panel.access import Access, Admitted, Refused
from canary_middleware.panel.addresses import Clients
from canary_middleware.panel.bodies import READING, fields
from canary_middleware.panel.cookies import Cookie
from canary_middleware.panel.pages.rendering import up
from canary_middleware.panel.people import Role
from canary_middleware.panel.refusals import for_program, refusal


class _GoneError(Exception):
    """Somebody may no longer see what is being sent."""


class Guard:
    """Lets people pass whom ``access`` knows, and changes pass that are no forgery.

    Whatever is not GET or HEAD needs :attr:`Role.OPERATE`. Behind it ``request.state`` has
    ``person``, ``address`` (of the client), ``csrf`` and ``signs_in``.

    Args:
        app: the routes behind it.
        access: who is let in.
        clients: where requests come from.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        clients: Clients,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._access, self._clients, self._clock = app, access, clients, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        address = self._clients.address(scope)
        admitted = await self._access.admit(scope, address)
        if isinstance(admitted, Refused):
            answer = self._stranger(Request(scope), admitted)
            await answer(scope, receive, send)
            return
        if admitted.secret == "":
            admitted, send = self._given_a_secret(scope, admitted, send)
        scope["state"].update(
            person=admitted.person,
            address=address,
            csrf=forgery.token_of(admitted.secret) if admitted.secret else "",
            signs_in=self._access.signs_in and admitted.secret is not None,
        )
        refused = _refused(Request(scope), admitted)
        if refused is not None:
            await refused(scope, receive, send)
            return
        try:
            await self._app(scope, receive, self._lasting(scope, admitted, send))
        except* _GoneError:  # task groups of older Starlettes wrap it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _stranger(self, request: Request, refused: Refused) -> Response:
        if refused.wait:
            return too_many(request, refused.wait)
        if not self._access.signs_in:
            words = "The application does not let you in here."
            return refusal(request, 403, words, code="not_signed_in")
        if for_program(request.scope) or request.method not in READING:
            words = "Sign in, or send a token: Authorization: Bearer cnp_..."
            headers = {"WWW-Authenticate": "Bearer"}
            return refusal(request, 401, words, headers)
        path = app_path(request.scope).lstrip("/")
        wanted = f"{path}?{request.url.query}" if request.url.query else path
        where = f"{up(request)}/sign-in"
        return RedirectResponse(f"{where}?next={quote(wanted)}" if wanted else where, 303)

    def _given_a_secret(
        self, scope: Scope, admitted: Admitted, send: Send
    ) -> tuple[Admitted, Send]:
        """Forms of people whom the host application knows need a cookie of ours, too."""
        secret = secrets.token_urlsafe(16)
        cookie = Cookie(self._access.cookie, scope, secure=self._clients.is_secure(scope))
        return Admitted(admitted.person, secret), cookie.adding(send, secret)

    def _lasting(self, scope: Scope, admitted: Admitted, send: Send) -> Send:
        """Ends answers that go on, such as event streams, when their reader may no longer read."""
        looked = self._clock()

        async def checked(message: Message) -> None:
            nonlocal looked
            if message["type"] == "http.response.body" and message.get("more_body"):
                now = self._clock()
                if now - looked >= self._access.every:
                    looked = now
                    if not await self._access.still(scope, admitted):
                        raise _GoneError
            await send(message)

        return checked


def too_many(request: Request, wait: float) -> Response:
    """The answer to one wrong token too many."""
    words = (
        f"Too many wrong tokens from your address; a right one works at once. Wait {ceil(wait)} s."
    )
    return refusal(request, 429, words, {"Retry-After": str(ceil(wait))})


def forged(request: Request, secret: str) -> bool:
    """Whether another site may have made a browser send this."""
    given = request.headers.get(forgery.HEADER) or fields(request).get(forgery.FIELD, "")
    return forgery.is_foreign(request.headers) or not secret or not forgery.fits(given, secret)


def _refused(request: Request, admitted: Admitted) -> Response | None:
    if request.method in READING:
        return None
    if admitted.secret is None:
        foreign = forgery.is_foreign(request.headers)
    else:
        foreign = forged(request, admitted.secret)
    if foreign:
        return forgery_refusal(request)
    if not admitted.person.role.covers(Role.OPERATE):
        words = f"{admitted.person.name} may look and change nothing (role view)."
        return refusal(request, 403, words)
    return None


def forgery_refusal(request: Request) -> Response:
    """The answer to what another site may have sent."""
    words = "This did not come from a page of the panel: load the page anew, and try again there."
    return refusal(request, 403, words, code="forged")
