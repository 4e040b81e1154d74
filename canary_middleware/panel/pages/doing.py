"""Forms: the page that asks before a verb, the verb itself, and where one is led afterwards."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from canary_middleware.core.state import EVERYTHING
from canary_middleware.errors import CanaryError
from canary_middleware.panel.acting import VERBS, act, read_form, status_of
from canary_middleware.panel.action import OF_EVERYTHING
from canary_middleware.panel.forgery import FIELD
from canary_middleware.panel.pages.asking import ASKED, question
from canary_middleware.panel.pages.rendering import page, up
from canary_middleware.panel.people import Role
from canary_middleware.panel.site import Site


class Forms:
    """Handlers of ``/rollouts/{name}/{verb}``, ``/kill`` and ``/revive``."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def ask(self, request: Request) -> Response:
        """The page that says whom it hits."""
        verb, name = _asked(request)
        if verb not in ASKED:
            return page(request, "error.html", 404, status=404, words="There is nothing here.")
        if not request.state.person.role.covers(Role.OPERATE):
            words = f"{request.state.person.name} may look and change nothing (role view)."
            return page(request, "error.html", 403, status=403, words=words)
        scope = name or EVERYTHING
        # A kill waits for no other page, not even to be asked about.
        ask = self._site.urgently if verb == "kill" else self._site.ask
        found = await ask(question, self._site.store, self._site.namespace, verb, scope)
        return page(request, "verb.html", question=found, action=verb, back=_back(request, name))

    async def do(self, request: Request) -> Response:
        """The form that was sent."""
        verb, name = _asked(request)
        if verb not in VERBS:
            return page(request, "error.html", 404, status=404, words="There is nothing here.")
        form = await request.form()
        pairs = [(key, value) for key, value in form.multi_items() if key != FIELD]
        state = request.state
        try:
            action = read_form(verb, name, pairs)
            done = await act(self._site, state.person, state.address, action)
        except CanaryError as error:
            return _failed(request, error, verb, name)
        told = f"did={quote(verb)}&revision={done.document.revision}"
        return RedirectResponse(f"{_back(request, name)}?{told}", 303)


def _asked(request: Request) -> tuple[str, str | None]:
    """The verb and the rollout of a path; ``None`` is everything."""
    name = request.path_params.get("name")
    verb = request.path_params.get("verb") or request.url.path.rpartition("/")[2]
    return (verb, name) if name or verb in OF_EVERYTHING else ("", None)


def _back(request: Request, name: str | None) -> str:
    return f"{up(request)}/rollouts/{quote(name)}" if name else f"{up(request)}/"


def _failed(request: Request, error: CanaryError, verb: str, name: str | None) -> Response:
    failure = status_of(error)
    return page(
        request, "failed.html", failure.status, title=failure.title, message=failure.message,
        hint=failure.hint, again=verb if verb in ASKED else _back(request, name),
        back=_back(request, name),
    )  # fmt: skip
