"""Live pages: asked for by viewers only, shared by them, and never silent about being old."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlencode

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from canary_middleware import verbs
from canary_middleware.errors import StoreUnavailableError, UnknownRolloutError
from canary_middleware.panel.pages.live import GLANCE, PERIOD, STREAMS, Live, Watch
from canary_middleware.panel.pages.parts import Topic
from canary_middleware.panel.pages.plots import Charts
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.site import Site
from canary_middleware.stores import Loaded, StateStore, open_store
from tests.panel.rig import ALICE, Panel
from tests.panel.stages import BY, declared

SOON = GLANCE + 0.01
OVERVIEW = Topic("overview", operate=True, root=".")
ROLLOUT = Topic("rollout", operate=True, root="..", name="checkout", span="1h")


@dataclass
class Counted:
    """A store that counts how often it was looked at, and that can be away."""

    store: StateStore
    loads: int = 0
    away: bool = False

    def load(self) -> Loaded:
        self.loads += 1
        if self.away:
            raise StoreUnavailableError("refused")
        return self.store.load()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)


@dataclass
class Scene:
    """A namespace with one rollout, and a clock to turn."""

    store: Counted = field(default_factory=lambda: Counted(open_store("memory://", "shop")))
    now: float = 100.0

    def __post_init__(self) -> None:
        declared(self.state, "checkout")
        verbs.start(self.state, "checkout", by=BY)
        self.store.loads = 0

    @property
    def state(self) -> StateStore:
        return cast("StateStore", self.store)

    def watch(self, clock: Callable[[], float] | None = None) -> Watch:
        made = Charts(self.state)
        return Watch(Site(self.state, "shop"), made, clock or (lambda: self.now))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_viewers_share_a_look_and_nobody_looking_asks_nothing(scene: Scene) -> None:
    async def run() -> None:
        watch = scene.watch()
        assert scene.store.loads == 0
        for _ in range(20):
            await watch.seen()
        assert scene.store.loads == 1
        scene.now += SOON
        await watch.seen()
        assert scene.store.loads == 2

    anyio.run(run)


def test_what_has_not_changed_is_rendered_once(scene: Scene) -> None:
    async def run() -> None:
        watch = scene.watch()
        first = await watch.seen()
        assert first.look is not None
        made = await watch.parts(OVERVIEW, first.look)
        scene.now += SOON
        second = await watch.seen()
        assert second is first
        assert second.look is not None
        assert await watch.parts(OVERVIEW, second.look) is made
        scene.now += PERIOD + SOON
        third = await watch.seen()
        assert third is not first

    anyio.run(run)


def test_a_change_is_seen_at_the_next_glance(scene: Scene) -> None:
    async def run() -> None:
        watch = scene.watch()
        before = await watch.seen()
        verbs.pause(scene.state, "checkout", by=BY)
        scene.now += SOON
        after = await watch.seen()
        assert before.look is not None
        assert after.look is not None
        assert after.look.revision == before.look.revision + 1
        assert "paused" in (await watch.parts(ROLLOUT, after.look))["head"]

    anyio.run(run)


def test_a_store_that_is_away_leaves_what_was_seen_and_is_told(scene: Scene) -> None:
    async def run() -> None:
        watch = scene.watch()
        before = await watch.seen()
        scene.store.away = True
        scene.now += SOON
        away = await watch.seen()
        assert (away.look, away.trouble) == (before.look, "refused")
        scene.store.away = False
        scene.now += SOON
        assert (await watch.seen()).trouble == ""

    anyio.run(run)


def test_nobody_watches_what_nobody_knows(scene: Scene) -> None:
    async def run() -> None:
        watch = scene.watch()
        found = await watch.seen()
        assert found.look is not None
        with pytest.raises(UnknownRolloutError):
            await watch.parts(Topic("rollout", operate=False, root="..", name="no"), found.look)
        with pytest.raises(UnknownRolloutError):
            await watch.parts(Topic("rollout", operate=False, root=".."), found.look)

    anyio.run(run)


def request(role: Role = Role.OPERATE, **query: str) -> Request:
    state = {"person": Person("alice", role), "csrf": "t0ken"}
    scope = {
        "type": "http", "method": "GET", "path": "/events", "headers": [], "state": state,
        "query_string": urlencode(query).encode(),
    }  # fmt: skip
    return Request(scope)


async def messages(live: Live, asked: Request) -> AsyncGenerator[dict[str, Any], None]:
    answer = await live.events(asked)
    assert isinstance(answer, StreamingResponse)
    body = answer.body_iterator
    assert isinstance(body, AsyncGenerator)
    async with aclosing(body):
        async for text in body:
            if str(text).startswith("data: "):
                yield json.loads(str(text).removeprefix("data: "))


def test_a_stream_has_everything_and_then_what_changed(scene: Scene) -> None:
    async def run() -> None:
        asked = request(page="rollout", name="checkout", seen="1")
        stream = messages(Live(scene.watch()), asked)
        first = await anext(stream)
        assert set(first["parts"]) == {
            "head", "now", "versions", "charts", "evidence", "processes", "trail",
        }  # fmt: skip
        assert 'value="t0ken"' in first["parts"]["head"]
        assert "say" not in first
        verbs.pause(scene.state, "checkout", by=BY)
        scene.now += SOON
        second = await anext(stream)
        assert "versions" not in second["parts"]
        assert "Resume" in second["parts"]["head"]
        assert second["say"].startswith("checkout: pause")
        await stream.aclose()

    anyio.run(run)


def test_a_stream_of_who_views_has_no_form(scene: Scene) -> None:
    async def run() -> None:
        stream = messages(Live(scene.watch()), request(Role.VIEW, page="rollout", name="checkout"))
        first = await anext(stream)
        assert "<form" not in json.dumps(first)
        assert "t0ken" not in json.dumps(first)
        await stream.aclose()

    anyio.run(run)


def test_a_stream_tells_that_the_store_is_away(scene: Scene) -> None:
    async def run() -> None:
        stream = messages(Live(scene.watch()), request(page="overview"))
        await anext(stream)
        scene.store.away = True
        scene.now += SOON
        assert "The store does not answer: refused" in (await anext(stream))["trouble"]
        scene.store.away = False
        scene.now += SOON
        assert set((await anext(stream))["parts"]) >= {"overview"}
        await stream.aclose()

    anyio.run(run)


def test_too_many_streams_and_unknown_pages_are_refused(scene: Scene) -> None:
    async def run() -> None:
        live = Live(scene.watch())
        assert (await live.events(request(page="secrets"))).status_code == 422
        streams = [messages(live, request(page="overview")) for _ in range(STREAMS)]
        for stream in streams:
            await anext(stream)
        full = await live.events(request(page="overview"))
        assert (full.status_code, full.headers["retry-after"]) == (503, "10")
        await streams[0].aclose()
        again = messages(live, request(page="overview"))
        await anext(again)
        for stream in (again, *streams[1:]):
            await stream.aclose()

    anyio.run(run)


@pytest.mark.alone
def test_a_server_that_ends_waits_for_no_stream(panel: Panel) -> None:
    browser = panel.browser(ALICE)
    with browser.stream("/events?page=overview") as answer:
        assert answer.readline() == b"retry: 1000\n"
        panel.process.terminate()
    assert "Application shutdown complete" in panel.log()
    # What it says when it has lost its patience.
    assert "Cancel" not in panel.log()
