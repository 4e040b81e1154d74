"""Lifespans: ours around the application's, and one for each target; the server is strict."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from canary_middleware import Canary, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.targets.lifespan import PATIENCE
from tests.scenarios.asgi_driver import exchange, http_scope
from tests.scenarios.facade import facade, outcomes
from tests.scenarios.virtual_time import run
from tests.scenarios.words import Ask, Reply

Message = dict[str, Any]


class Server:
    """The lifespan protocol of a server in mode "on": every event needs its answer, in order.

    Source: https://asgi.readthedocs.io/en/latest/specs/lifespan.html
    """

    def __init__(self, app: Any) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._to_app: asyncio.Queue[Message] = asyncio.Queue()
        self._from_app: asyncio.Queue[Message] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Returns what the application answered, or ``raised`` with the error's name."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        self._task = asyncio.ensure_future(self._app(scope, self._to_app.get, self._from_app.put))
        return await self._tell("startup")

    async def stop(self) -> str:
        answer = await self._tell("shutdown")
        assert self._task is not None
        await asyncio.wait([self._task])
        return answer

    async def _tell(self, event: str) -> str:
        assert self._task is not None
        self._to_app.put_nowait({"type": f"lifespan.{event}"})
        answer = asyncio.ensure_future(self._from_app.get())
        await asyncio.wait([self._task, answer], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            kind: str = answer.result()["type"]
            assert kind.startswith(f"lifespan.{event}."), kind
            return kind.removeprefix("lifespan.")
        answer.cancel()
        error = self._task.exception()
        return f"raised {type(error).__name__}" if error else "returned"


class App:
    """An application with a lifespan, as raw as they come.

    Args:
        name: what it calls itself in its notes.
        notes: where it writes what happens.
        on_startup: done before it answers ``startup``.
        on_shutdown: done before it answers ``shutdown``.
    """

    def __init__(
        self,
        name: str,
        notes: list[str],
        on_startup: Callable[[], Awaitable[str]] | None = None,
        on_shutdown: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.name = name
        self.notes = notes
        self._hooks = {"startup": on_startup, "shutdown": on_shutdown}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        state = ",".join(scope.get("state", {}))
        body = f"{self.name} {current('checkout').reason.value} {state}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def _lifespan(self, scope: Any, receive: Any, send: Any) -> None:
        for event, hook in self._hooks.items():
            message = await receive()
            assert message["type"] == f"lifespan.{event}"
            self.notes.append(f"{self.name} {event}")
            scope["state"][self.name] = event
            answer = await hook() if hook else "complete"
            await send({"type": f"lifespan.{event}.{answer}"})


async def fails() -> str:
    return "failed"


async def raises() -> str:
    raise OSError("no database")


async def hangs() -> str:
    await asyncio.Event().wait()
    return "complete"


async def no_lifespan(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"plain"})


async def returns_at_once(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await no_lifespan(scope, receive, send)


class Rig:
    """The middleware around a main application and maybe a target."""

    def __init__(self, app: Any = None, target: Any = None) -> None:
        self.notes: list[str] = []
        self.canary: Canary = facade()
        self.canary.arrive_blocking()  # now, because virtual time knows no threads
        self.main = app or App("main", self.notes)
        targets = {"checkout": target} if target else {}
        self.middleware = CanaryMiddleware(self.main, self.canary, targets)
        self.server = Server(self.middleware)

    async def get(self) -> Reply:
        scope = {**http_scope(Ask()), "state": dict(self.server.state)}
        return await exchange(self.middleware, scope)


def test_the_applications_lifespan_runs_inside_of_ours() -> None:
    async def scenario() -> None:
        rig = Rig()
        assert await rig.server.start() == "startup.complete"
        assert rig.server.state == {"main": "startup"}
        assert rig.canary.awake
        assert await rig.server.stop() == "shutdown.complete"
        assert rig.notes == ["main startup", "main shutdown"]
        assert not rig.canary.awake, "stopped: threads ended and connections closed"

    asyncio.run(scenario())


@pytest.mark.parametrize("app", [no_lifespan, returns_at_once])
def test_an_application_without_lifespan_still_gets_ours(app: Any) -> None:
    async def scenario() -> None:
        rig = Rig(app)
        assert await rig.server.start() == "startup.complete"
        assert (await rig.get()).body == b"plain"
        assert await rig.server.stop() == "shutdown.complete"
        assert not rig.canary.awake

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("hook", "answer"), [(fails, "startup.failed"), (raises, "raised OSError")]
)
def test_a_failed_start_reaches_the_server_and_nothing_of_ours_stays(
    hook: Any, answer: str
) -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes, hook), App("target", notes))
        assert await rig.server.start() == answer
        assert notes == ["target startup", "main startup", "target shutdown"]
        assert not rig.canary.awake

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("hook", "answer"), [(fails, "shutdown.failed"), (raises, "raised OSError")]
)
def test_a_failed_shutdown_reaches_the_server_too(hook: Any, answer: str) -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes, on_shutdown=hook), App("target", notes))
        assert await rig.server.start() == "startup.complete"
        assert await rig.server.stop() == answer
        assert notes[-1] == "target shutdown"
        assert not rig.canary.awake

    asyncio.run(scenario())


# --- targets --------------------------------------------------------------------------------------


def test_a_target_has_a_lifespan_and_a_state_of_its_own() -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes))
        assert await rig.server.start() == "startup.complete"
        assert (await rig.get()).body == b"target weight target"
        rig.canary.store.kill("checkout", by="test", why="test", now=0.0)
        assert (await rig.get()).body == b"main kill_switch main"
        assert await rig.server.stop() == "shutdown.complete"
        assert notes == ["target startup", "main startup", "main shutdown", "target shutdown"]

    asyncio.run(scenario())


def test_requests_get_copies_of_the_targets_state() -> None:
    async def scribble(scope: Any, receive: Any, send: Any) -> None:
        await target(scope, receive, send)
        scope["state"]["scribbled"] = scope["type"] == "http"

    async def scenario() -> None:
        rig = Rig(target=scribble)
        await rig.server.start()
        await rig.get()
        assert (await rig.get()).body == b"target weight target"
        assert rig.server.state == {"main": "startup"}
        await rig.server.stop()

    target = App("target", [])
    asyncio.run(scenario())


@pytest.mark.parametrize("hook", [fails, raises])
def test_a_target_that_fails_to_start_closes_its_arm_only(hook: Any) -> None:
    """W11."""

    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes, hook))
        assert await rig.server.start() == "startup.complete"
        reply = await rig.get()
        assert (reply.status, reply.body) == (200, b"main not_ready main")
        assert outcomes(rig.canary) == {"stable 2xx": 1}
        assert await rig.server.stop() == "shutdown.complete"

    asyncio.run(scenario())


def test_a_target_that_crashes_later_is_no_reason_for_the_process_to_end() -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes, on_shutdown=raises))
        assert await rig.server.start() == "startup.complete"
        assert await rig.server.stop() == "shutdown.complete"

    asyncio.run(scenario())


@pytest.mark.parametrize("target", [no_lifespan, returns_at_once])
def test_a_target_without_lifespan_is_ready_as_it_is(target: Any) -> None:
    async def scenario() -> None:
        rig = Rig(target=target)
        assert await rig.server.start() == "startup.complete"
        assert (await rig.get()).body == b"plain"
        await rig.server.stop()

    asyncio.run(scenario())


def test_a_target_that_hangs_at_start_up_delays_the_server_by_a_known_time() -> None:
    async def scenario() -> float:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes, hangs))
        begun = asyncio.get_running_loop().time()
        await rig.middleware._lifespans.start()  # noqa: SLF001  # the rest of a start-up uses threads
        waited = asyncio.get_running_loop().time() - begun
        assert (await rig.get()).body == b"main not_ready "
        return waited

    begun = time.monotonic()
    assert run(scenario()) == pytest.approx(PATIENCE, abs=0.1)
    assert time.monotonic() - begun < PATIENCE / 2, "in virtual time"


def test_a_slow_target_joins_when_it_is_ready() -> None:
    async def scenario() -> None:
        async def slowly() -> str:
            await asyncio.sleep(3 * PATIENCE)
            return "complete"

        rig = Rig(target=App("target", [], slowly))
        await rig.middleware._lifespans.start()  # noqa: SLF001  # as above
        assert (await rig.get()).body == b"main not_ready "
        await asyncio.sleep(3 * PATIENCE)
        assert (await rig.get()).body == b"target weight target"

    run(scenario())


def test_a_target_that_hangs_at_shutdown_is_left_behind() -> None:
    async def scenario() -> float:
        rig = Rig(target=App("target", [], on_shutdown=hangs))
        await rig.middleware._lifespans.start()  # noqa: SLF001  # as above
        begun = asyncio.get_running_loop().time()
        await rig.middleware._lifespans.stop()  # noqa: SLF001  # as above
        return asyncio.get_running_loop().time() - begun

    assert run(scenario()) == pytest.approx(PATIENCE, abs=0.1)


# --- servers without lifespan ---------------------------------------------------------------------


def test_without_a_servers_lifespan_targets_start_at_the_first_visit() -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes))
        assert notes == []
        replies = await asyncio.gather(*(rig.get() for _ in range(5)))
        assert replies[0].body == b"target weight target"
        assert {reply.body for reply in replies[1:]} <= {
            b"target weight target",
            b"main not_ready ",
        }
        assert (await rig.get()).body == b"target weight target"
        assert notes == ["target startup"], "once"

    asyncio.run(scenario())


def test_a_visit_after_a_shutdown_starts_everything_again() -> None:
    async def scenario() -> None:
        notes: list[str] = []
        rig = Rig(App("main", notes), App("target", notes))
        await rig.server.start()
        await rig.server.stop()
        assert (await rig.get()).body == b"target weight target"
        assert rig.canary.awake

    asyncio.run(scenario())


def test_an_unprotected_start_would_take_the_server_down() -> None:
    """The broken variant: a target's lifespan run as the application's own."""

    async def scenario() -> str:
        return await Server(App("target", [], raises)).start()

    assert asyncio.run(scenario()) == "raised OSError"
