"""Processes that share a store, and visitors with jars: a shop with shared affinity."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

from canary_middleware import Canary, Cohort, Reason, Rollout, asgi, current, verbs, wsgi
from canary_middleware.claims import keeper
from canary_middleware.core.claims import Claim
from canary_middleware.core.model import Policy
from canary_middleware.core.state import Document, Plan
from canary_middleware.stores import open_store
from tests.scenarios import asgi_driver, wsgi_driver
from tests.scenarios.words import Ask, Reply, Start
from tests.support.servers import wait_until

KEY, SECRET = "k" * 32, "b" * 32


@dataclass(frozen=True)
class Told:
    """What a request got."""

    cohort: Cohort
    reason: Reason
    period: int
    measured: bool


@dataclass
class Browser:
    """A jar for cookies, and who is signed in."""

    user: str = ""
    jar: dict[str, str] = field(default_factory=dict)
    keeps: bool = True

    def headers(self) -> list[tuple[str, str]]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        lines = [("cookie", cookies), ("x-user", self.user)]
        return [(name, value) for name, value in lines if value]

    def take(self, reply: Reply) -> None:
        for line in reply.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if self.keeps:
                self.jar[name] = value


class Process:
    """One process of the shop, served by one interface."""

    def __init__(self, interface: str, rollout: Rollout, **settings: Any) -> None:
        self.asynchronous = interface == "asgi"
        self.canary = Canary(
            rollout,
            secret_keys=[KEY],
            bucket_secret=SECRET,
            identify=lambda view: view.header("X-User"),
            telemetry=False,
            **{"claim_budget": 1.0, **settings},
        )
        self.told: Told | None = None
        self._runner = asyncio.Runner()
        self.app: Any = (
            asgi.CanaryMiddleware(asgi_driver.as_asgi(self._steps), self.canary)
            if self.asynchronous
            else wsgi.CanaryMiddleware(wsgi_driver.as_wsgi(self._steps, lazy=False), self.canary)
        )

    def _steps(self) -> Iterator[Any]:
        found = current("checkout")
        self.told = Told(found.cohort, found.reason, found.period, found.measured)
        yield Start()
        yield b"done"

    def lag(self) -> None:
        """Hear nothing any more, by a push or by looking."""
        assert self.canary.agent is not None
        self.canary.agent.stop()

    def visit(self, browser: Browser) -> Told:
        """One request."""
        if self.asynchronous:
            return self.run(self.ask(browser))
        environ = wsgi_driver.http_environ(Ask(headers=browser.headers()))
        return self._answered(browser, wsgi_driver.exchange(self.app, environ))

    async def ask(self, browser: Browser) -> Told:
        """The same in the loop of the process."""
        scope = asgi_driver.http_scope(Ask(headers=browser.headers()))
        return self._answered(browser, await asgi_driver.exchange(self.app, scope))

    def run(self, coroutine: Coroutine[Any, Any, Told]) -> Told:
        """In the loop of the process."""
        return self._runner.run(coroutine)

    def _answered(self, browser: Browser, reply: Reply) -> Told:
        assert (reply.status, reply.error) == (200, None)
        browser.take(reply)
        assert self.told is not None
        return self.told

    def follows(self, document: Document | None) -> bool:
        return self.canary.engine.document == document

    def close(self) -> None:
        self._runner.run(self.canary.asker.leave())
        self._runner.close()
        self.canary.stop()


class Shop:
    """Processes that share a store, under one policy.

    Args:
        interface: ``asgi`` or ``wsgi``.
        url: of the store.
        namespace: of this test.
    """

    def __init__(self, interface: str, url: str, namespace: str) -> None:
        self.interface, self.url, self.namespace = interface, url, namespace
        self.local = url == "memory://"
        self.processes: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        keeper(self.store).forget("checkout", None)
        with (
            closing(open_store(self.url, self.namespace)) as other,
            ThreadPoolExecutor() as threads,  # each waits for threads of its own
        ):
            ends = [threads.submit(process.close) for process in self.processes]
            while wait(ends, timeout=0.02).not_done:
                keeper(other).forget("checkout", ["nobody"])  # a push ends the wait for one
        for end in ends:
            end.result()

    def open(
        self,
        weight: int,
        policy: Policy = Policy.KEEP,
        affinity: str = "shared",
        processes: int = 1,
    ) -> list[Process]:
        rollout = Rollout("checkout", "1", "2", policy=policy, affinity=affinity)
        settings: dict[str, Any] = {"namespace": self.namespace, "store": self.url}
        if not self.local:
            settings["poll"] = 0.1
        for _ in range(processes):
            process = Process(self.interface, rollout, **settings)
            self.processes.append(process)
        plan = Plan.from_rollout(rollout)
        verbs.start(self.store, "checkout", by="test", plan=plan, weight=1_000 * weight)
        for process in self.processes:
            process.canary.arrive_blocking()
        self.heard()
        return self.processes

    @property
    def store(self) -> Any:
        return self.processes[0].canary.store

    def weigh(self, weight: int) -> None:
        verbs.weight(self.store, "checkout", 1_000 * weight, by="test")
        self.heard()

    def do(self, verb: Callable[..., Document]) -> None:
        verb(self.store, "checkout", by="test")
        self.heard()

    def heard(self) -> None:
        document = self.store.load().document
        for process in self.processes:
            wait_until(partial(process.follows, document), what="it is heard")

    def claims(self) -> dict[str, Claim]:
        return {found.key: found.claim for found in self.store.claims("checkout")}

    def written(self, number: int) -> dict[str, Claim]:
        """The claims, once there are so many; those of brand-new browsers are the agent's."""
        if not self.local:
            wait_until(lambda: len(self.claims()) == number, what="claims are written")
        return self.claims()
