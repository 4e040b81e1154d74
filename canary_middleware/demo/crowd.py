"""The visitors: some thousand strangers who come, look around in both shops, and come back."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from canary_middleware.demo.browser import (
    FETCH,
    NAVIGATION,
    Connection,
    ExchangeError,
    Jar,
    Response,
)
from canary_middleware.demo.processes import LOCALHOST
from canary_middleware.demo.words import (
    CHARGES,
    CHECKOUT,
    DISPATCHED,
    HEARD,
    PART_OF,
    PAY,
    SEARCH,
    VISITOR,
    WORKER,
    Part,
)

BROWSERS: Final = 32
"""Visits at one time."""
ORDERS: Final = 0.6
"""Share of visits that end with an order."""
RETURNS: Final = 0.25
"""Share of visits by somebody who has been here before."""

_VERSION: Final = re.compile("|".join(map(re.escape, PART_OF)))


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, as its visitor saw it; times in seconds of the monotonic clock of this host.

    Attributes:
        visitor: number.
        version: from the body; no two rollouts share one.
        charges: how often an order was charged, from the receipt; 0 where nothing was ordered.
        sent: when the request was sent.
        received: when the whole answer was there.
        worker: process id of who answered.
        dispatched: when the worker dispatched it, by the worker.
        heard: when that worker had last heard of a kill, up to then; ``None`` if never.
    """

    visitor: int
    version: str
    sent: float
    received: float
    worker: int
    dispatched: float
    heard: float | None
    charges: int = 0


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error page, or no answer at all.

    Attributes:
        visitor: number.
        part: name of the rollout that was asked.
        text: what came, in words.
    """

    visitor: int
    part: str
    text: str

    def __str__(self) -> str:
        return f"visitor {self.visitor} in {self.part}: {self.text}"


@dataclass(slots=True)
class Visitor:
    """One stranger."""

    number: int
    jar: Jar = field(default_factory=Jar)


class Crowd:
    """Sends visitors to the shops, at a steady pace, until it is told to stop.

    Args:
        ports: of the shops, all on this host.
        rate: visits per second, if the host can.

    Attributes:
        answers: everything that was seen.
        errors: what was none.
        expected: how many distinct visitors may have come so far; the others are returning ones.
        arrived: how many have come.
    """

    def __init__(self, ports: Sequence[int], rate: float) -> None:
        self.answers: list[Answer] = []
        self.errors: list[Trouble] = []
        self.expected = 0
        self.arrived = 0
        self.rate = rate
        self._ports = tuple(ports)
        self._away: list[Visitor] = []
        self._due = 0.0
        self._closing = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._due = time.monotonic()
        self._tasks = [asyncio.create_task(self._browse()) for _ in range(BROWSERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def go_home(self) -> None:
        """Let every visit that has begun end; nobody comes after it."""
        self._closing = True
        await asyncio.gather(*self._tasks)

    def check(self) -> None:
        """Raise what a task raised."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def new_visitor(self, number: int) -> Visitor:
        """Somebody who was never here."""
        return Visitor(number)

    # --- private --------------------------------------------------------------------------------

    async def _browse(self) -> None:
        while not self._closing:
            now = time.monotonic()
            # Whoever is late does not make up for it: a crowd that rushes in measures nothing.
            self._due = max(self._due, now - 0.1) + 1 / self.rate
            await asyncio.sleep(self._due - now)
            visitor = self._next()
            if visitor is not None:
                await self._visit(visitor)
                self._away.append(visitor)

    def _next(self) -> Visitor | None:
        new = self.arrived < self.expected
        if self._away and not (new and random.random() > RETURNS):
            place = random.randrange(len(self._away))
            self._away[place], self._away[-1] = self._away[-1], self._away[place]
            return self._away.pop()
        if not new:
            return None
        self.arrived += 1
        return self.new_visitor(self.arrived)

    async def _visit(self, visitor: Visitor) -> None:
        """A look at the checkout of one shop and at the search of the other; often an order."""
        here, there = random.sample(self._ports, 2)
        async with Connection(LOCALHOST, here) as shop, Connection(LOCALHOST, there) as neighbour:
            await self._ask(visitor, shop, "GET", CHECKOUT, NAVIGATION)
            await self._ask(visitor, neighbour, "GET", SEARCH, NAVIGATION)
            if random.random() < ORDERS:
                await self._ask(visitor, shop, "POST", PAY, FETCH)

    async def _ask(
        self, visitor: Visitor, shop: Connection, method: str, part: Part, fetch: Mapping[str, str]
    ) -> None:
        headers = {**fetch, **visitor.jar.headers(), VISITOR: str(visitor.number)}
        sent = time.monotonic()
        try:
            response = await shop.request(method, part.path, headers)
            self.answers.append(read(visitor.number, part, sent, response))
            visitor.jar.take(response)
        except ExchangeError as error:
            self.errors.append(Trouble(visitor.number, part.name, str(error)))


def read(visitor: int, part: Part, sent: float, response: Response) -> Answer:
    """What an answer tells.

    Raises:
        ExchangeError: it is no answer of this part of our shops.
    """
    found = set(_VERSION.findall(response.body))
    headers = response.headers
    named = len(found) == 1 and found <= {part.stable, part.canary}
    if response.status != 200 or not named or DISPATCHED.lower() not in headers:
        raise ExchangeError(f"status {response.status}, {response.body[:200]!r}")
    heard = headers.get(HEARD.lower())
    return Answer(
        visitor=visitor,
        version=found.pop(),
        sent=sent,
        received=time.monotonic(),
        worker=int(headers[WORKER.lower()]),
        dispatched=float(headers[DISPATCHED.lower()]),
        heard=None if heard is None else float(heard),
        charges=json.loads(response.body)[CHARGES] if part is PAY else 0,
    )
