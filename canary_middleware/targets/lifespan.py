"""The lifespan of the wrapped application and of each target application, side by side.

The wrapped application's own start-up decides whether the server starts. A target that fails to
start closes the canary arm of its rollout (``not_ready``) and harms nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final

from canary_middleware.engine.engine import Engine
from canary_middleware.targets.interface import is_upstream

logger = logging.getLogger("canary_middleware")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PATIENCE: Final = 10.0
"""Seconds that a start-up waits for targets; a slower one joins when it is ready."""


class TargetLifespan:
    """One target application's lifespan, run in a task of its own."""

    def __init__(self, name: str, app: App, engine: Engine) -> None:
        self.state: dict[str, Any] = {}
        # Whether another server is ready says its probe, not that its address is known here.
        self._tells = not is_upstream(app)
        self._name = name
        self._app = app
        self._engine = engine
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._settled = asyncio.Event()
        self._heard = False
        self._answered = False
        self._task = asyncio.create_task(self._run(), name=f"canary target {name}")
        if self._tells:
            engine.set_ready(name, ready=False)
        self._messages.put_nowait({"type": "lifespan.startup"})

    async def settled(self) -> None:
        """Wait until the target started, failed, or turned out to have no lifespan; in reason."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), PATIENCE)

    async def stop(self) -> None:
        """Shut the target down and wait for it."""
        if self._answered:
            self._messages.put_nowait({"type": "lifespan.shutdown"})
            await asyncio.wait([self._task], timeout=PATIENCE)
        self._task.cancel()

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except Exception as error:  # any application may raise anything; only its own arm closes
            # One that raises before it has listened is without lifespan, and ready as it is.
            if self._heard:
                logger.error("target of %s: lifespan failed", self._name, exc_info=error)
                if not self._answered:
                    self._settle(ready=False)
        if not self._answered:
            self._settle(ready=True)

    async def _receive(self) -> Message:
        self._heard = True
        return await self._messages.get()

    async def _send(self, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete":
            self._settle(ready=True)
        elif message["type"] == "lifespan.startup.failed":
            logger.error(
                "target of %s failed to start, its canary stays closed: %s",
                self._name,
                message.get("message", ""),
            )
            self._settle(ready=False)

    def _settle(self, *, ready: bool) -> None:
        self._answered = True
        if self._tells:
            self._engine.set_ready(self._name, ready=ready)
        self._settled.set()


class Lifespans:
    """All targets of one middleware.

    Started by the server's lifespan or, without one, by the first visit.

    Attributes:
        waiting: whether targets still have to be started in this process.
    """

    def __init__(self, targets: Mapping[str, App], engine: Engine) -> None:
        self._targets = targets
        self._engine = engine
        self._running: dict[str, TargetLifespan] = {}
        self.waiting = bool(targets)

    def state(self, name: str) -> dict[str, Any]:
        """A copy of the target's own lifespan state, for ``scope["state"]``."""
        running = self._running.get(name)
        return dict(running.state) if running else {}

    async def start(self) -> None:
        """Start all targets that have not been started, and wait for them within reason."""
        if self.waiting:
            self.waiting = False
            self._running = {
                name: TargetLifespan(name, app, self._engine) for name, app in self._targets.items()
            }
        await asyncio.gather(*(target.settled() for target in self._running.values()))

    async def stop(self) -> None:
        """Shut all targets down; a visit starts them again."""
        running, self._running = self._running, {}
        self.waiting = bool(self._targets)
        await asyncio.gather(*(target.stop() for target in running.values()))


class Shared:
    """The server's lifespan channel, listened to on the way in and spoken for if nobody else does.

    Args:
        arrive: awaited at start-up, before the application.
        leave: awaited after the application's shutdown.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        arrive: Callable[[], Awaitable[None]],
        leave: Callable[[], Awaitable[None]],
    ) -> None:
        self._receive = receive
        self._send = send
        self._arrive = arrive
        self._leave = leave
        self._last = ""
        self._left = False
        self.answered = False

    @property
    def heard(self) -> bool:
        """Whether the application has listened to the server."""
        return self._last != ""

    async def receive(self) -> Message:
        """What the server says, after our own part of it."""
        message = await self._receive()
        self._last = message["type"]
        if self._last == "lifespan.startup":
            await self._arrive()
        return message

    async def send(self, message: Message) -> None:
        """What the application answers."""
        self.answered = True
        if message["type"] != "lifespan.startup.complete":
            await self.leave()
        await self._send(message)

    async def leave(self) -> None:
        """End our part, once: after a shutdown, or when there was no start."""
        if not self._left:
            self._left = True
            await self._leave()

    async def speak(self) -> None:
        """Answer for an application that has no lifespan, so that ours starts and stops."""
        if self._last != "lifespan.startup":
            await self.receive()
        await self.send({"type": "lifespan.startup.complete"})
        while self._last != "lifespan.shutdown":
            await self.receive()
        await self.send({"type": "lifespan.shutdown.complete"})


async def share_lifespan(
    app: App, scope: MutableMapping[str, Any], receive: Receive, send: Send,
    arrive: Callable[[], Awaitable[None]], leave: Callable[[], Awaitable[None]],
) -> None:  # fmt: skip
    """Run the wrapped application's lifespan with ours around it.

    Raises:
        Exception: whatever the application raises after it has listened to the server.
    """
    shared = Shared(receive, send, arrive, leave)
    try:
        await app(scope, shared.receive, shared.send)
    except Exception as error:  # raising is how an ASGI application says "no lifespan here"
        if shared.heard or shared.answered:  # it has one, and it failed: the server must learn it
            await shared.leave()
            raise
        logger.debug("the application has no lifespan: %r", error)
    if not shared.answered:
        await shared.speak()
