"""Every route of the panel by who asks and how: the table of statuses (S15)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from starlette.routing import BaseRoute

from canary_middleware import verbs
from canary_middleware.core.state import Plan
from canary_middleware.panel import panel as make_panel
from canary_middleware.panel.tokens import mint
from canary_middleware.stores import MemoryStore
from tests.panel.rig import Panel
from tests.support.clients import NAVIGATION, Response, Visitor

READS, WRITES = ("GET", "HEAD"), ("POST", "PUT", "PATCH", "DELETE")

Row = tuple[int, int, int, int]
"""Statuses for: nobody, a wrong token, who views, who operates."""

PAGE: Row = (303, 303, 200, 200)
FORM: Row = (401, 401, 403, 303)
TOLD: Row = (401, 401, 200, 200)
OPEN: Row = (200, 200, 200, 200)
NO_PAGE: Row = (303, 303, 404, 404)
NO_SUCH_METHOD: Row = (401, 401, 403, 405)
NOTHING: Row = (401, 401, 404, 404)
NOTHING_TO_DO: Row = (401, 401, 403, 404)


def deed(operate: int) -> dict[str, Row]:
    """A verb of the API: nobody can look at it, and only who operates may do it."""
    reading: dict[str, Row] = dict.fromkeys(READS, (401, 401, 405, 405))
    return {**reading, "POST": (401, 401, 403, operate)}


def seen(row: Row) -> dict[str, Row]:
    return dict.fromkeys(READS, row)


TABLE: dict[str, dict[str, Row]] = {
    "/healthz": {**seen(OPEN), **dict.fromkeys(WRITES, NOTHING_TO_DO)},
    "/static": {**seen(OPEN), **dict.fromkeys(WRITES, (405, 405, 405, 405))},
    "/sign-in": {**seen(OPEN), "POST": (403, 403, 403, 403),
                 **dict.fromkeys(("PUT", "PATCH", "DELETE"), NOTHING_TO_DO)},
    "/sign-out": {**seen(NO_PAGE), "POST": (303, 303, 303, 303),
                  **dict.fromkeys(("PUT", "PATCH", "DELETE"), NOTHING_TO_DO)},
    "/": seen(PAGE),
    "/history": seen(PAGE),
    "/processes": seen(PAGE),
    "/events": seen((401, 401, 422, 422)),  # no page is named
    "/rollouts/{name}": seen(PAGE),
    "/rollouts/{name}/{verb}": {**seen(NO_PAGE), "POST": NOTHING_TO_DO},  # there is no such verb
    "/kill": {**seen((303, 303, 403, 200)), "POST": FORM},
    "/revive": {**seen((303, 303, 403, 200)), "POST": FORM},
    "/api/status": seen(TOLD),
    "/api/rollouts": seen(TOLD),
    "/api/rollouts/{rollout}": seen(TOLD),
    "/api/rollouts/{rollout}/history": seen(TOLD),
    "/api/rollouts/{rollout}/series": seen(TOLD),
    "/api/history": seen(TOLD),
    "/api/processes": seen(TOLD),
    "/api/openapi.json": seen(TOLD),
    "/api/rollouts/{rollout}/start": deed(409),
    "/api/rollouts/{rollout}/weight": deed(422),
    "/api/rollouts/{rollout}/pause": deed(409),
    "/api/rollouts/{rollout}/resume": deed(409),
    "/api/rollouts/{rollout}/approve": deed(409),
    "/api/rollouts/{rollout}/promote": deed(200),
    "/api/rollouts/{rollout}/rollback": deed(200),
    "/api/rollouts/{rollout}/finish": deed(409),
    "/api/rollouts/{rollout}/rebase": deed(409),
    "/api/rollouts/{rollout}/drill": deed(422),
    "/api/rollouts/{rollout}/settle": deed(409),
    "/api/rollouts/{rollout}/kill": deed(200),
    "/api/rollouts/{rollout}/revive": deed(200),
    "/api/kill": deed(200),
    "/api/revive": deed(200),
    "/api/{rest:path}": {**seen(NOTHING), **dict.fromkeys(WRITES, NOTHING_TO_DO)},
}  # fmt: skip
"""What is not said is :data:`NO_SUCH_METHOD`."""

VALUES = {
    "{name}": "checkout", "{rollout}": "checkout", "{verb}": "nothing", "{rest:path}": "nothing",
    "/static": "/static/icon.svg",
}  # fmt: skip


def paths(routes: Iterable[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Of all routes, also of those inside of others."""
    for route in routes:
        path = prefix + str(getattr(route, "path", ""))
        inner: list[BaseRoute] = getattr(route, "routes", None) or []
        yield from paths(inner, path) if inner else [path]


@pytest.fixture(scope="module")
def panel(standing: Panel) -> Panel:
    """With a rollout that has begun."""
    store = standing.store()
    verbs.start(store, "checkout", by="test", plan=Plan("1.4", "1.5", ("/",)))
    store.close()
    return standing


class Asker:
    """Somebody, from ever new addresses, so that no limit hides what a row says."""

    _numbers = itertools.count(1)

    def __init__(self, panel: Panel, **headers: str) -> None:
        self.panel, self.headers = panel, headers

    def ask(self, method: str, path: str) -> Response:
        number = next(self._numbers)
        address = f"192.0.{number // 250}.{number % 250}"
        with Visitor(self.panel.port) as visitor:
            sent = {"X-Forwarded-For": address, **self.headers}
            return visitor.request(method, path, fetch=NAVIGATION, headers=sent)


def askers(panel: Panel) -> list[Asker]:
    """In the order of a row."""
    tokens = [mint(), panel.tokens["bob"], panel.tokens["alice"]]
    return [Asker(panel), *(Asker(panel, Authorization=f"Bearer {token}") for token in tokens)]


def revision(panel: Panel) -> int:
    store = panel.store()
    document = store.load().document
    store.close()
    assert document is not None
    return document.revision


def filled(path: str) -> str:
    for name, value in VALUES.items():
        path = path.replace(name, value)
    return path


def test_no_route_is_without_a_row(panel: Panel) -> None:
    app = make_panel(MemoryStore(), namespace="shop", tokens=panel.file)
    assert set(paths(app.routes)) == set(TABLE)


@pytest.mark.parametrize("path", TABLE)
def test_each_route_answers_each_of_them_as_it_says(panel: Panel, path: str) -> None:
    nobody, wrong, views, operates = askers(panel)
    for method in (*READS, *WRITES):
        row = TABLE[path].get(method, NO_SUCH_METHOD)
        before = revision(panel)
        found: list[Any] = [one.ask(method, filled(path)) for one in (nobody, wrong, views)]
        assert revision(panel) == before, (method, path)  # none of these changes anything
        found.append(operates.ask(method, filled(path)))
        assert tuple(one.status for one in found) == row, (method, path)
        for one in found:
            assert one.status != 401 or one.header("WWW-Authenticate") == "Bearer"
            assert one.status != 303 or one.header("Location").startswith(("./", "../"))


@pytest.mark.parametrize("path", TABLE)
def test_a_session_of_one_who_views_changes_nothing_by_any_route(panel: Panel, path: str) -> None:
    before = revision(panel)
    for method in WRITES:
        row = TABLE[path].get(method, NO_SUCH_METHOD)
        browser = panel.browser("bob")
        headers = {"X-Canary-CSRF": browser.csrf()}
        found = browser.request(method, filled(path), b"{}", fetch=NAVIGATION, headers=headers)
        # Signing out is all that it may; the form to sign in has another token than a session's.
        assert found.status == row[2], (method, path)
    assert revision(panel) == before
