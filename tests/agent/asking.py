"""A process that asks a store for claims, and a store that does what it is told."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from canary_middleware.agent.affinity import Asker
from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.model import Assignment, Rollout
from canary_middleware.core.state import Document, Plan, RolloutState
from canary_middleware.core.weight import FULL
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import StoreUnavailableError
from tests.core.control import entry
from tests.engine.world import World, world

SHARED = Rollout("checkout", "1", "2", policy="keep", affinity="shared")
HALF, NONE = FULL // 2, 0


def at(weight: int, period: int = 4) -> Document:
    found = entry(weight=weight, period=period, plan=Plan.from_rollout(SHARED))
    return Document("lineage", period, rollouts={"checkout": RolloutState("2", {"2": found})})


class Server:
    """A store that answers, refuses, or stands still; blocking and in an event loop.

    Attributes:
        answers: whether it does.
        asked: how often it was reached for.
    """

    def __init__(self) -> None:
        self.answers = True
        self.stands_still = False
        self.asked = 0
        self.opened = 0
        self.closed = 0
        self.held: dict[str, Claim] = {}

    def __call__(self) -> Server:
        self.opened += 1
        return self

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        self.asked += 1
        if not self.answers:
            raise StoreUnavailableError("refused")
        for ask in asks:
            origin = self.held.get(ask.origin) if ask.origin else None
            self.held[ask.key] = contend(self.held.get(ask.key), origin, ask)
        return [self.held[ask.key] for ask in asks]

    def close(self) -> None:
        self.closed += 1


class Wire:
    """The same server, from a loop."""

    def __init__(self, server: Server) -> None:
        self._server = server()

    async def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        if self._server.stands_still:
            self._server.asked += 1
            await asyncio.sleep(math.inf)
        await asyncio.sleep(0)
        return self._server.claim(asks)

    async def close(self) -> None:
        self._server.close()


class Process:
    """A process whose users keep no cookies, and the store it asks."""

    def __init__(self, weight: int = HALF, server: Server | None = None) -> None:
        self.server = server or Server()
        self.world: World = world(SHARED, identify=lambda view: view.header("x-user"))
        self.looked = -math.inf
        self.asker = Asker(
            self.world.engine, self.server, lambda: Wire(self.server), 0.02, lambda: self.looked
        )
        self.world.engine.adopt(at(weight))

    def begin(self, user: str, **headers: str) -> Visit:
        return self.world.visit(x_user=user, **headers)

    def ask(self, user: str) -> Assignment:
        visit = self.begin(user)
        self.asker.settle(visit)
        return visit.expose("checkout")

    async def ask_async(self, user: str) -> Assignment:
        visit = self.begin(user)
        await self.asker.settle_async(visit)
        return visit.expose("checkout")

    def wait(self, seconds: float) -> None:
        self.world.time.monotonic += seconds

    def look(self) -> None:
        """The agent looks at the store and finds it well."""
        self.looked = self.world.time.monotonic
