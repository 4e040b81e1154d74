"""A crowd that never stops asking while releases come and go, and what each answer had to be."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

from tests.support.clients import SAME_ORIGIN_NAVIGATION, AsyncVisitor, Pool

AT_ONCE: Final = 8
PAUSE: Final = 0.005
"""Seconds between two requests of one of them, which leaves the pods something of the machine."""

STABLE, SPLIT, CANARY = "stable", "split", "canary"
"""What the table says of a release: everybody on stable, some on canary, everybody on canary."""

Table = Mapping[str, str]
"""By release; one that is missing was never started."""


VARIABLE: Final = "CANARY_TEST_BUILD"


@dataclass(frozen=True)
class Build:
    """What is in a pod: the stable version, and the canary beside it; travels as JSON."""

    store: str
    namespace: str
    stable: str
    canary: str

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls) -> Build:
        """This process's own."""
        return cls(**json.loads(os.environ[VARIABLE]))


@dataclass(frozen=True)
class Answer:
    """One answer: to whom, when it was asked for and when it was there, and what was in it."""

    visitor: int
    asked: float
    got: float
    stable: str
    canary: str
    version: str


@dataclass
class Era:
    """A table, from the first moment at which a pod may obey it to the last."""

    table: Table
    begun: float
    over: float = float("inf")


@dataclass
class Record:
    """Everything that was seen, and what was in force meanwhile."""

    answers: list[Answer] = field(default_factory=list)
    eras: list[Era] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def begin(self, table: Table) -> None:
        """From now on pods may obey this table, and some still the one before."""
        self.eras.append(Era(table, time.monotonic()))

    def settle(self) -> None:
        """All pods obey the last table."""
        for era in self.eras[:-1]:
            era.over = min(era.over, time.monotonic())

    def words(self, answer: Answer) -> set[str]:
        """What the tables that may have been obeyed say of the pod's release."""
        return {
            era.table.get(answer.canary, STABLE)
            for era in self.eras
            if era.begun <= answer.got and answer.asked <= era.over
        }

    def wrong(self) -> Iterator[str]:
        """Every answer that no table allows."""
        for answer in self.answers:
            words = self.words(answer)
            allowed = {answer.canary} if words - {STABLE} else set()
            allowed |= {answer.stable} if words - {CANARY} else set()
            if answer.version not in allowed:
                yield f"{answer} although {words}"

    def places(self) -> Mapping[str, Mapping[int, set[str]]]:
        """By release and visitor, the sides that were seen while it was split."""
        found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for answer in self.answers:
            if self.words(answer) == {SPLIT}:
                side = CANARY if answer.version == answer.canary else STABLE
                found[answer.canary][answer.visitor].add(side)
        return found

    def moved(self) -> list[tuple[str, int]]:
        """Visitors who were on both sides of one release."""
        return [
            (release, visitor)
            for release, visitors in self.places().items()
            for visitor, sides in visitors.items()
            if len(sides) > 1
        ]


async def _ask(visitors: Sequence[tuple[int, AsyncVisitor]], record: Record) -> None:
    for number, visitor in visitors:
        asked = time.monotonic()
        response = await visitor.get("/", SAME_ORIGIN_NAVIGATION)
        if response.status != 200:
            record.broken.append(f"status {response.status}")
            continue
        served = json.loads(response.body)
        record.answers.append(Answer(number, asked, time.monotonic(), **served))
        await asyncio.sleep(PAUSE)


async def _walk(port: int, count: int, record: Record, stop: threading.Event) -> None:
    async with Pool(port, AT_ONCE) as pool:
        crowd = [(number, AsyncVisitor(pool)) for number in range(count)]

        async def some(visitors: Sequence[tuple[int, AsyncVisitor]]) -> None:
            while not stop.is_set():
                await _ask(visitors, record)

        async with asyncio.TaskGroup() as group:
            for first in range(AT_ONCE):
                group.create_task(some(crowd[first::AT_ONCE]))


@contextmanager
def crowd(port: int, count: int, record: Record) -> Iterator[None]:
    """So many visitors ask all the time, in a thread."""
    stop = threading.Event()

    def run() -> None:
        try:
            asyncio.run(_walk(port, count, record, stop))
        except BaseException as error:
            record.broken.append(repr(error))
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
