"""Some processes' agents around a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from canary_middleware import verbs
from canary_middleware.agent import Agent
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Plan
from canary_middleware.stores import StateStore, open_store
from tests.agent.held import ROLLOUT, Held
from tests.support.redis import RedisServer
from tests.support.servers import wait_until

PLAN = Plan.from_rollout(ROLLOUT)
POLL = 0.8
HEARD = 1.0
"""Seconds within which every process hears of everything (issue 2)."""


class Site:
    """Some processes' agents, each with its own connections, and the people's store."""

    def __init__(self, server: RedisServer, directory: Path, stack: ExitStack) -> None:
        self.server = server
        self.directory = directory
        self.people = open_store(server.url, "shop", timeout=5.0)
        self._stack = stack
        self.helds: list[Held] = []
        stack.callback(self.people.close)

    def agent(
        self, url: str | None = None, snapshot_path: Path | None = None, poll: float = POLL
    ) -> tuple[Agent, Held]:
        """One more process."""
        store = open_store(url or self.server.url, "shop")
        held = Held()
        agent = Agent(held, store, namespace="shop", snapshot_path=snapshot_path, poll=poll)
        self._stack.callback(store.close)
        self._stack.callback(agent.stop)
        self.helds.append(held)
        agent.ensure_started()
        return agent, held

    def agents(self, count: int, poll: float = POLL) -> None:
        for _ in range(count):
            agent, _ = self.agent(poll=poll)
            assert agent.wait_first_load(5.0)
        self.wait_listening(count)

    def wait_listening(self, count: int) -> None:
        with self.server.client() as client:
            wait_until(lambda: dict(client.pubsub_numsub("canary:{shop}:push")) ==
                       {"canary:{shop}:push": count}, what="all listen")  # fmt: skip

    def all(self, condition: Callable[[Held], bool], within: float, what: str) -> float:
        return wait_until(lambda: all(map(condition, self.helds)), timeout=within, what=what)

    def start(self) -> Document:
        document = verbs.start(self.people, "checkout", by="me", plan=PLAN)
        self.all(lambda held: held.weight == 20_000, HEARD, "20 %")
        return document


@contextmanager
def agents_of(server: RedisServer, directory: Path) -> Iterator[Site]:
    """Give them out, and end them."""
    with ExitStack() as stack:
        yield Site(server, directory, stack)
        # Who waits for a push would wait on; without a server all end at once.
        server.kill()


def killed(held: Held) -> bool:
    return held.killed


def restores(store: StateStore) -> list[Audit]:
    return [audit for audit in store.history(None, 99) if audit.action == "restore"]
