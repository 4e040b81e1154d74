"""Pages that only show: handlers, each with one question to the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from canary_middleware import verbs
from canary_middleware.overview.doubts import unknown_rollout
from canary_middleware.panel.pages.looking import Look, look
from canary_middleware.panel.pages.parts import CSRF, Parts, Topic, parts
from canary_middleware.panel.pages.plots import Charts, span_of
from canary_middleware.panel.pages.rendering import page, render, up, way
from canary_middleware.panel.pages.trail import trail
from canary_middleware.panel.people import Role
from canary_middleware.panel.site import Site
from canary_middleware.stores import StateStore

PER_PAGE: Final = 30
_FARTHEST: Final = 33
"""Pages of the history: a thousand lines, as the CLI shows."""
_DONE: Final = 20
"""Lines of history among which the one is sought that somebody has just made."""
_TITLES: Final = {"overview": "Overview", "processes": "Processes"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page is made of."""

    look: Look
    parts: Parts
    said: str


class Views:
    """Handlers of the pages."""

    def __init__(self, site: Site, charts: Charts) -> None:
        self._site, self._charts = site, charts

    async def overview(self, request: Request) -> Response:
        """All rollouts."""
        return await self._live(request, topic_of(request, "overview"))

    async def rollout(self, request: Request) -> Response:
        """One of them."""
        topic = topic_of(
            request, "rollout", request.path_params["name"], request.query_params.get("span", "")
        )
        return await self._live(request, topic)

    async def processes(self, request: Request) -> Response:
        """Who reports."""
        return await self._live(request, topic_of(request, "processes"))

    async def history(self, request: Request) -> Response:
        """What was done, page by page."""
        only = request.query_params.get("rollout") or None
        at = _number(request.query_params.get("page", ""))
        lines = await self._site.ask(verbs.history, self._site.store, only, at * PER_PAGE + 1)
        rows = trail(lines[(at - 1) * PER_PAGE : at * PER_PAGE])
        told = render("parts/trail.html", root=up(request), rows=rows, plain=True, name=only or "")
        return page(
            request, "history.html", title="History", here="History", parts={"trail": told},
            only=only, number_of=at, more=len(lines) > at * PER_PAGE and at < _FARTHEST,
        )  # fmt: skip

    async def _live(self, request: Request, topic: Topic) -> Response:
        found = await self._site.ask(_shown, self._site, self._charts, topic, _did(request))
        named = {"page": topic.page, "name": topic.name, "span": topic.span}
        return page(
            request,
            f"{topic.page}.html",
            title=topic.name or _TITLES[topic.page],
            here=_TITLES.get(topic.page, ""),
            live=urlencode({**named, "seen": found.look.revision}),
            said=found.said,
            parts=filled(found.parts, request),
        )


def topic_of(request: Request, name: str, rollout: str = "", span: str = "") -> Topic:
    """What somebody looks at; its stream, which has another address, has the links of the page."""
    operate = request.state.person.role.covers(Role.OPERATE)
    chosen = span_of(span) if rollout else None
    return Topic(name, operate, way(1 if rollout else 0), rollout, chosen.key if chosen else "")


def filled(found: Parts, request: Request) -> Parts:
    """Parts with the token of who gets them."""
    token = getattr(request.state, "csrf", "")
    return {name: type(part)(str(part).replace(CSRF, token)) for name, part in found.items()}


def known(found: Look, topic: Topic) -> None:
    """Refuse a rollout that nobody knows.

    Raises:
        UnknownRolloutError: there is none of that name.
    """
    if topic.page == "rollout" and topic.name not in found.views:
        nothing = "nothing is known there: start an application that declares it"
        raise unknown_rollout(topic.name, found.namespace, found.status.known, nothing)


def _shown(site: Site, charts: Charts, topic: Topic, did: tuple[str, int]) -> Shown:
    found = look(site.store, site.namespace)
    known(found, topic)
    return Shown(found, parts(site.store, charts, found, topic), _said(site.store, did))


def _said(store: StateStore, did: tuple[str, int]) -> str:
    """What was just done, in the words of history: an address can make nobody say anything."""
    verb, revision = did
    if not verb:
        return ""
    lines = verbs.history(store, None, _DONE)
    line = next((one for one in lines if (one.action, one.revision) == (verb, revision)), None)
    if line is None:
        return ""
    (row,) = trail([line])
    return f"Done: {row.action} {row.scope}, {row.change}; revision {revision}"


def _did(request: Request) -> tuple[str, int]:
    given = request.query_params
    return given.get("did", ""), _number(given.get("revision", ""), most=2**53)


def _number(text: str, most: int = _FARTHEST) -> int:
    """A number from 1 on; of anything else 1."""
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        return 1
    return min(max(1, int(text)), most)
