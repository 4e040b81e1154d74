"""Signing in with a token, and out again."""

from __future__ import annotations

import re
import secrets
from typing import Final

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from canary_middleware.panel import forgery
from canary_middleware.panel.access import Refused, TokenAccess
from canary_middleware.panel.addresses import Clients
from canary_middleware.panel.bodies import fields
from canary_middleware.panel.cookies import Cookie
from canary_middleware.panel.forgery import is_foreign
from canary_middleware.panel.guard import forged, forgery_refusal, too_many
from canary_middleware.panel.pages.rendering import page, up
from canary_middleware.panel.sessions import LIFE

_NEXT: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_-][A-Za-z0-9_./?=&%-]{0,300}")
"""A page of ours, below the mount point: no scheme, no host, no way up."""
_STEP: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>canary</title>'
    '<meta http-equiv="refresh" content="0; url={step}"><p><a href="{step}">To the panel</a></p>'
)
_WRONG: Final = "That is no token of this panel."


class SignIn:
    """The pages for it.

    Args:
        access: who is let in.
        clients: where requests come from.
        namespace: of the panel.
    """

    def __init__(self, access: TokenAccess, clients: Clients, namespace: str) -> None:
        self._access, self._clients = access, clients
        self._form = f"canary_panel_form_{namespace}"

    def routes(self) -> list[BaseRoute]:
        """Open to strangers."""
        return [
            Route("/sign-in", self.show, name="sign-in"),
            Route("/sign-in", self.enter, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The form, or the way around it for those who come by a link from elsewhere.

        With such a link a browser sends no ``SameSite=Strict`` cookie, so nobody knows yet whether
        they are signed in; a step from our own page tells.
        """
        wanted = _wanted(request.query_params.get("next", ""))
        if is_foreign(request.headers):
            step = escape(f"{up(request)}/{wanted}")
            return HTMLResponse(_STEP.format(step=step))
        return self._page(request, 200, wanted)

    async def enter(self, request: Request) -> Response:
        """A token in the form."""
        secret = request.cookies.get(self._form, "")
        if forged(request, secret):
            return forgery_refusal(request)
        form = fields(request)
        wanted = _wanted(form.get("next", ""))
        address = self._clients.address(request.scope)
        token = form.get("token", "").strip()
        line = self._access.sign_in(token, address)
        if isinstance(line, Refused):
            if line.wait:
                return too_many(request, line.wait)
            return self._page(request, 401, wanted, self._access.file.trouble or _WRONG)
        answer = RedirectResponse(f"{up(request)}/{wanted}", 303)
        self._cookie(request, self._access.cookie).put(
            answer, self._access.session(line, token), LIFE
        )
        self._cookie(request, self._form).drop(answer)
        return answer

    async def leave(self, request: Request) -> Response:
        """Forget the session in this browser."""
        secret = request.cookies.get(self._access.cookie, "")
        # Also where another site's form came without our cookie: the answer would take it away.
        if is_foreign(request.headers) or (secret and forged(request, secret)):
            return forgery_refusal(request)
        answer = RedirectResponse(f"{up(request)}/sign-in", 303)
        self._cookie(request, self._access.cookie).drop(answer)
        return answer

    def _page(self, request: Request, status: int, wanted: str, problem: str = "") -> Response:
        secret = request.cookies.get(self._form) or secrets.token_urlsafe(16)
        request.state.csrf = forgery.token_of(secret)
        answer = page(request, "sign_in.html", status, next=wanted, problem=problem)
        self._cookie(request, self._form).put(answer, secret)
        if status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _cookie(self, request: Request, name: str) -> Cookie:
        return Cookie(name, request.scope, secure=self._clients.is_secure(request.scope))


def _wanted(path: str) -> str:
    """Where somebody wanted to go; ``""``, the overview, where that is no page of ours."""
    return path if _NEXT.fullmatch(path) else ""
