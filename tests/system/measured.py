"""Visitors of the measured site, and what they saw of each rollout."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from canary_middleware import measures, verbs
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Phase, Plan
from canary_middleware.core.totals import Ledgers
from canary_middleware.stores import StateStore, open_store
from tests.support.clients import NAVIGATION, Connection, Cookies
from tests.support.servers import Process, free_port
from tests.system.measured_site import NAMESPACE, STORE, rollout
from tests.system.rig import BIN, ROOT


@dataclass(frozen=True)
class Saw:
    """One answer: monotonic seconds of its end, who asked, and what came."""

    at: float
    visitor: int
    rollout: str
    cohort: str
    status: int


@dataclass
class Crowd:
    """Visitors who come all the time; each makes some requests to one rollout and leaves.

    Attributes:
        ports: of the workers.
        rollouts: that they visit, each as often.
        rate: visitors per second.
        requests: of one visitor.
    """

    ports: Sequence[int]
    rollouts: Sequence[str]
    rate: float = 60.0
    requests: int = 3
    saw: list[Saw] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    stopped: bool = False
    gone: set[int] = field(default_factory=set)

    async def run(self, seconds: float) -> None:
        """Until the time is over or somebody stops them."""
        begun, number = time.monotonic(), 0
        tasks: set[asyncio.Task[None]] = set()
        while not self.stopped and time.monotonic() < begun + seconds:
            task = asyncio.create_task(self._visit(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            number += 1
            await asyncio.sleep(max(0.0, begun + number / self.rate - time.monotonic()))
        await asyncio.gather(*tasks)

    async def _visit(self, number: int) -> None:
        name, jar = self.rollouts[number % len(self.rollouts)], Cookies()
        for _ in range(self.requests):
            await self._ask(number, name, jar)
            await asyncio.sleep(random.uniform(0.0, 0.4))

    async def _ask(self, number: int, name: str, jar: Cookies) -> None:
        connection = Connection(random.choice([p for p in self.ports if p not in self.gone]))
        try:
            headers = {**NAVIGATION, **jar.header(), "Connection": "close"}
            response = await connection.request("POST", f"/{name}", headers)
        except (OSError, ValueError, EOFError) as error:
            self.broken.append(repr(error))
            return
        finally:
            connection.close()
        jar.take(response)
        try:
            cohort = str(json.loads(response.body)["cohort"])
        except ValueError:  # the server's own page of an application that raised
            cohort = "canary"
        self.saw.append(Saw(time.monotonic(), number, name, cohort, response.status))

    def canaries(self, name: str) -> list[Saw]:
        """What was seen of one canary."""
        return [one for one in self.saw if (one.rollout, one.cohort) == (name, "canary")]

    def after(self, name: str, visitors: int, since: float, *, bad: bool) -> float:
        """Seconds from the answer that completed the evidence to the last canary answer.

        Args:
            name: of the rollout.
            visitors: whose evidence it took.
            since: wall-clock seconds of the baseline; what was before it is booked much later.
            bad: what counts is each visitor's first failure, else their first answer.
        """
        since += time.monotonic() - time.time()
        first: dict[int, float] = {}
        for one in self.canaries(name):
            if one.at >= since and (one.status >= 500 or not bad):
                first.setdefault(one.visitor, one.at)
        last = sorted(first.values())[: max(1, visitors)][-1]
        return self.canaries(name)[-1].at - last


class Site:
    """Workers of the measured site around a store."""

    def __init__(self, directory: Path, url: str, namespace: str, workers: int = 4) -> None:
        self.store: StateStore = open_store(url, namespace, timeout=5.0)
        self.ports = [free_port() for _ in range(workers)]
        env = {STORE: url, NAMESPACE: namespace}
        self.processes = [
            Process(
                [
                    str(BIN / "uvicorn"), "tests.system.measured_site:app", "--port", str(port),
                    "--log-level", "critical",
                ],
                directory / f"measured-{port}.log",
                env=env,
                cwd=ROOT,
            )
            for port in self.ports
        ]  # fmt: skip

    def __enter__(self) -> Self:
        for process in self.processes:
            process.start()
        for port, process in zip(self.ports, self.processes, strict=True):
            process.wait_port(port, timeout=30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self.processes:
            process.kill()
        self.store.close()

    def start(self, *names: str) -> None:
        """Begin the ramps."""
        for name in names:
            verbs.start(self.store, name, by="test", plan=Plan.from_rollout(rollout(name)))

    def entry(self, name: str) -> Entry:
        """Where a release stands."""
        document = self.store.load().document
        assert document is not None
        entry = document.entry(name, "1.5.0")
        assert entry is not None
        return entry

    def phase(self, name: str) -> Phase:
        """In which phase a release is."""
        return self.entry(name).phase

    def history(self, name: str, action: str) -> list[Audit]:
        """What was done to a release, the oldest first."""
        return [line for line in self.store.history(name, 100) if line.action == action][::-1]

    def counted(self, name: str) -> Ledgers:
        """What all processes have told of a release."""
        return measures.read(self.store, name, self.entry(name)).ledgers
