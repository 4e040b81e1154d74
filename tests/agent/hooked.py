"""Webhooks of processes on one store, with clocks to turn and nobody asleep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from canary_middleware.agent.alerting import Alerts, Courier, Pace
from canary_middleware.agent.electing import Elected
from canary_middleware.agent.posting import Post, PostError, Reply
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.core.webhook import Webhook
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores import MemoryStore
from tests.agent.site import Time

URL = "https://hooks.example.com/s3cr3t"
SECRET = "s" * 32
PLAN = Plan("1", "2", steps=(1_000, 5_000))
PACE = Pace()


class Store(MemoryStore):
    """One that may be away, and whose history counts how often it is read."""

    def __init__(self, time: Time) -> None:
        super().__init__(lambda: time.wall)
        self.away = False
        self.reads = 0
        self.keeps = True
        self.asked: Counter[str] = Counter()

    def holders(self) -> list[str]:
        """Who holds a lease, who holds most of them first."""
        found = Counter(owner for owner, until in self._leases.values() if until > self._wall())
        return [owner for owner, _ in found.most_common()]

    def emptied(self) -> None:
        MemoryStore.__init__(self, self._wall)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailableError("away")

    def hold(self, owner: str, seconds: float, of: str = "") -> bool:
        self._check()
        self.asked[owner] += 1
        return super().hold(owner, seconds, of)

    def cursor(self, hook: str) -> str | None:
        self._check()
        return super().cursor(hook)

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        self._check()
        self.reads += 1
        return super().history(scope, limit)

    def advance(self, hook: str, before: str | None, after: str) -> bool:
        self._check()
        if not self.keeps:
            raise StoreUnavailableError("full")
        return super().advance(hook, before, after)


@dataclass
class Other:
    """The receiver: what it got, and what it does."""

    fails: str = ""
    status: int = 200
    retry_after: float | None = None
    bug: Exception | None = None
    posting: Post | None = None
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def post(self, url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        assert read == 0
        if self.posting is not None:
            return self.posting(url, body, headers, read)
        if self.bug is not None:
            raise self.bug
        self.got.append((url, headers["webhook-id"], dict(headers), body))
        if self.fails:
            raise PostError(self.fails)
        return Reply(self.status, retry_after=self.retry_after)

    @property
    def ids(self) -> list[str]:
        return [one[1] for one in self.got]

    @property
    def events(self) -> list[Any]:
        return [json.loads(one[3]) for one in self.got]

    @property
    def actions(self) -> list[str]:
        return [one["action"] for one in self.events]


class Site:
    def __init__(self) -> None:
        self.time = Time()
        self.store = Store(self.time)
        self.other = Other()
        self.counted: Counter[str] = Counter()
        self.wall = lambda: self.time.wall
        self.clock = lambda: self.time.monotonic

    def count(self, event: str) -> None:
        self.counted[event] += 1

    def fleet(self, owner: str, hooks: Sequence[Webhook]) -> list[Courier]:
        """The couriers of one process."""
        elected = self.elected(owner, hooks)
        return [self.courier(owner, hook, elected) for hook in hooks]

    def followed(self) -> Document | None:
        return self.store.load().document

    def elected(self, owner: str, hooks: Sequence[Webhook]) -> Elected:
        return Elected(self.store, owner, hooks, self.clock, lambda: 0.5)

    def courier(
        self, owner: str = "a", hook: Webhook | None = None, elected: Elected | None = None
    ) -> Courier:
        hook = hook or Webhook(URL)
        return Courier(
            hook,
            Alerts(secret=SECRET, post=self.other.post, pace=PACE),
            self.store,
            namespace="shop",
            owner=owner,
            followed=self.followed,
            count=self.count,
            elected=elected or self.elected(owner, [hook]),
            clock=self.clock,
            wall=self.wall,
            chance=lambda: 0.5,
        )

    def go(self, seconds: float, *couriers: Courier) -> None:
        until = self.time.monotonic + seconds
        while self.time.monotonic < until:
            self.time.go(PACE.turn)
            for courier in couriers:
                while courier.turn():
                    pass

    def happen(self, *actions: str) -> None:
        """Lines of history, by changes of the state or none."""
        for action in actions:
            self.time.go(0.01)
            now = self.time.wall
            before = self.followed()
            if before is None:
                command = Command(Verb.START, "checkout", plan=PLAN)
                after = apply(Document("ab12"), command, now)
            else:
                after = replace(before, revision=before.revision + 1)
            line = Audit(now, "me", action, "checkout", "", "2 ramping 1%", "why", after.revision)
            assert self.store.swap(before.key if before else None, after, line)
