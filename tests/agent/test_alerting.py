"""What a hook is told, by whom, when and how often, with clocks to turn and nobody asleep."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from canary_middleware.agent.alerting import Alerts, Courier, Pace
from canary_middleware.agent.electing import ASK_EVERY, RENEW_EVERY, Elected
from canary_middleware.agent.posting import Post, PostError, Reply
from canary_middleware.core.alerts import LIMIT
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


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_happens_is_told_once_in_order_and_signed(site: Site) -> None:
    courier = site.courier()
    site.go(1, courier)
    site.happen("start", "advance")
    site.go(1, courier)
    site.happen("rollback")
    site.go(30, courier)
    assert site.other.actions == ["start", "advance", "rollback"]
    assert len(set(site.other.ids)) == 3
    url, _, headers, _ = site.other.got[0]
    assert url == URL
    assert headers["webhook-signature"].startswith("v1,")
    assert site.other.events[0]["release"] == "2"
    assert site.counted == {"alerts_sent": 3}


def test_who_is_new_is_not_told_of_old_history(site: Site) -> None:
    site.happen("start", "advance", "advance")
    courier = site.courier()
    site.go(10, courier)
    site.happen("promote")
    site.go(10, courier)
    assert site.other.actions == ["promote"]


def test_what_happened_between_start_and_first_look_is_told(site: Site) -> None:
    site.happen("start")
    courier = site.courier()
    site.happen("advance")
    site.go(1, courier)
    assert site.other.actions == ["advance"]


def test_only_what_is_wanted_is_told(site: Site) -> None:
    courier = site.courier(hook=Webhook(URL, events=["rollback"]))
    site.happen("start", "baseline", "advance", "rollback", "start")
    site.go(1, courier)
    assert site.other.actions == ["rollback"]
    other = site.courier("b", Webhook(URL))
    courier.leave()
    site.go(20, other)
    assert site.other.actions == ["rollback"], "what came after was passed over for good"


def test_a_hook_of_a_chat_room_gets_no_signature_by_the_common_secret(site: Site) -> None:
    courier = site.courier(hook=Webhook(URL, format="slack"))
    site.happen("start")
    site.go(1, courier)
    assert "webhook-signature" not in site.other.got[0][2]
    assert list(site.other.events[0]) == ["text"]


@pytest.mark.parametrize("failure", ["hangs", 500, 302, 404])
def test_what_fails_is_sent_again_under_its_id_before_anything_else(
    site: Site, failure: str | int
) -> None:
    courier = site.courier()
    if isinstance(failure, int):
        site.other.status = failure
    else:
        site.other.fails = failure
    site.happen("start")
    site.go(20, courier)
    site.happen("rollback")
    assert len(site.other.got) == 4, "after 1, 3 and 10 seconds"
    site.other.fails, site.other.status = "", 200
    site.go(40, courier)
    assert site.other.actions == ["start"] * 5 + ["rollback"]
    assert len(set(site.other.ids)) == 2
    stamps = [one[2]["webhook-timestamp"] for one in site.other.got[:5]]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) > 3, "the time is that of the attempt"


def test_a_receiver_is_given_the_time_that_it_asks_for(site: Site) -> None:
    courier = site.courier()
    site.other.status, site.other.retry_after = 429, 600.0
    site.happen("start")
    site.go(590, courier)
    assert len(site.other.got) == 1
    site.go(20, courier)
    assert len(site.other.got) == 2


def test_several_webhooks_on_one_host_are_told_apart_without_their_paths() -> None:
    one, other, alone = (
        Webhook(url) for url in (URL, f"{URL}/other", "https://else.example.com/x")
    )
    told = Alerts((one, alone, other), secret=SECRET)
    assert [told.named(hook) for hook in told.hooks] == [
        "hooks.example.com (1 of 2)", "else.example.com", "hooks.example.com (2 of 2)",
    ]  # fmt: skip
    assert Alerts((one,)).named(one) == Alerts().named(one) == "hooks.example.com"


def test_after_a_day_it_is_given_up_and_the_next_one_comes(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    courier = site.courier()
    site.other.fails = "no answer within 10 s"
    site.happen("start")
    site.go(60, courier)
    site.time.go(LIMIT)
    site.happen("rollback")
    site.go(400, courier)
    assert site.counted["alerts_given_up"] == 1
    assert site.other.actions[-1] == "rollback"
    site.other.fails = ""
    site.go(400, courier)
    assert site.counted["alerts_sent"] == 1
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "alerts to hooks.example.com: degraded: no answer within 10 s",
        "alerts to hooks.example.com: given up start of revision 1: no answer within 10 s",
        "alerts to hooks.example.com: recovered",
    ]
    assert "s3cr3t" not in str(lines)


def test_an_event_that_is_not_taken_holds_up_the_others_for_minutes_only(site: Site) -> None:
    courier = site.courier()
    site.other.status = 400
    site.happen("start")
    site.go(1_300, courier)
    assert site.counted["alerts_given_up"] == 1


def test_an_event_that_fails_before_it_is_sent_is_told_once_and_given_up_as_one_not_taken(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    courier = site.courier()
    site.other.bug = ZeroDivisionError("a bug with s3cr3t")
    site.happen("start")
    site.go(600, courier)
    assert courier.troubles == ("alerts to hooks.example.com",)
    assert site.counted["alerts_given_up"] == 0
    site.go(700, courier)
    assert site.counted["alerts_given_up"] == 1
    site.other.bug = None
    site.happen("advance")
    site.go(10, courier)
    assert site.other.actions == ["advance"]
    assert all(one.levelno > logging.DEBUG for one in caplog.records)
    tracebacks = [one.getMessage() for one in caplog.records if one.exc_info]
    assert len(tracebacks) == 2, "in twenty minutes"
    assert tracebacks[0] == "alerts to hooks.example.com: an event cannot be sent"
    others = [one.getMessage() for one in caplog.records if not one.exc_info]
    assert others[0] == "alerts to hooks.example.com: degraded: failed here: ZeroDivisionError"


def test_two_processes_send_nothing_twice(site: Site) -> None:
    couriers = [site.courier(name) for name in "abc"]
    for action in ("start", "advance", "hold", "advance", "rollback"):
        site.happen(action)
        site.go(7, *couriers)
    assert site.other.actions == ["start", "advance", "hold", "advance", "rollback"]


def test_many_processes_try_a_broken_receiver_no_more_often_than_one(site: Site) -> None:
    couriers = [site.courier(name) for name in "abc"]
    site.other.status = 500
    site.happen("start")
    site.go(1_000, *couriers)
    assert 8 <= len(site.other.got) <= 10, "1, 3, 10, 30, 60, 120, and every 300 seconds"


def test_when_the_sender_dies_another_goes_on_where_it_was(site: Site) -> None:
    first, second = site.courier("a"), site.courier("b")
    site.happen("start")
    site.go(2, first, second)
    site.happen("advance")
    site.go(PACE.lease + 2 * PACE.ask + 1, second)
    assert site.other.actions == ["start", "advance"]


def test_what_fails_is_said_by_who_sends_as_long_as_it_does(site: Site) -> None:
    first, second = site.courier("a"), site.courier("b")
    site.other.fails = "connection refused"
    site.happen("start")
    site.go(2, first, second)
    assert (first.troubles, second.troubles) == (("alerts to hooks.example.com",), ())
    site.go(PACE.lease + 2 * PACE.ask + 1, second)
    assert (first.troubles, second.troubles) == ((), ("alerts to hooks.example.com",))
    site.other.fails = ""
    site.go(120, second)
    assert second.troubles == ()


def test_who_dies_between_sending_and_writing_it_down_leads_to_the_same_id_twice(
    site: Site,
) -> None:
    first, second = site.courier("a"), site.courier("b")
    site.go(2, first, second)
    site.store.keeps = False
    site.happen("start")
    site.go(2, first)
    site.store.keeps = True
    site.go(40, second)
    assert site.other.actions == ["start", "start"]
    assert len(set(site.other.ids)) == 1


def test_a_store_that_cannot_be_written_makes_nobody_send_twice(site: Site) -> None:
    courier = site.courier()
    site.go(1, courier)
    site.store.keeps = False
    site.happen("start")
    site.go(10, courier)
    site.store.keeps = True
    site.happen("advance")
    site.go(10, courier)
    assert site.other.actions == ["start", "advance"]


def test_who_was_stopped_sends_nothing_that_another_has_sent(site: Site) -> None:
    first, second = site.courier("a"), site.courier("b")
    site.go(2, first, second)
    site.happen("start")
    site.go(60, second)
    site.go(60, first, second)
    assert site.other.actions == ["start"]


def test_whoever_leaves_gives_the_lease_back(site: Site) -> None:
    first, second = site.courier("a"), site.courier("b")
    site.go(1, first)
    first.leave()
    site.happen("start")
    site.go(1, second)
    assert site.other.actions == ["start"]


def test_an_outage_of_the_store_is_told_once_and_loses_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    courier = site.courier()
    site.go(1, courier)
    site.happen("start")
    site.store.away = True
    site.go(60, courier)
    site.store.away = False
    site.go(20, courier)
    assert site.other.actions == ["start"]
    texts = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text.rpartition(": ")[0] for text in texts] == [
        "alerts to hooks.example.com, store: degraded", "alerts to hooks.example.com, store",
    ]  # fmt: skip


def test_after_the_store_was_emptied_the_restore_is_told_and_nothing_twice(site: Site) -> None:
    courier = site.courier()
    site.happen("start", "advance")
    site.go(1, courier)
    document = site.followed()
    assert document is not None
    site.store.emptied()
    site.time.go(1)
    line = Audit(site.time.wall, "b", "restore", "*", "empty", "revision 2", "why", 2)
    assert site.store.swap(None, document, line)
    site.go(60, courier)
    assert site.other.actions == ["start", "advance", "restore"]


def test_what_history_dropped_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    courier = site.courier()
    site.happen("start")
    site.go(1, courier)
    site.happen(*["advance"] * 1_010)
    site.go(1, courier)
    assert site.other.events[1]["missed"] == 10
    assert {one["missed"] for one in site.other.events[2:]} == {0}
    assert len(site.other.got) == 1_001
    assert "up to 10 events are lost" in caplog.text
    assert site.counted["alerts_missed"] == 1


def test_a_cursor_that_is_none_is_begun_anew(site: Site) -> None:
    courier = site.courier()
    site.store.advance(Webhook(URL).name, None, "garbage")
    site.happen("start")
    site.go(1, courier)
    site.happen("advance")
    site.go(1, courier)
    assert site.other.actions == ["start", "advance"]


def test_history_is_read_when_something_happens_and_now_and_then(site: Site) -> None:
    courier = site.courier()
    site.happen("start")
    site.go(1, courier)
    site.store.reads = 0
    site.go(100, courier)
    assert site.store.reads <= 100 / PACE.look


def test_who_does_not_send_asks_rarely(site: Site) -> None:
    couriers = [site.courier(name) for name in "abc"]
    site.go(12, *couriers)
    site.store.asked.clear()
    site.go(100, *couriers)
    assert 0 < site.store.asked["b"] <= 100 / RENEW_EVERY + 100 / PACE.ask, "would be the next"
    assert 0 < site.store.asked["c"] <= 100 / ASK_EVERY


HOOKS = [Webhook(f"{URL}/{number}") for number in range(16)]


def test_many_processes_with_many_hooks_ask_as_if_each_had_one(site: Site) -> None:
    processes = [site.fleet(f"p{number}", HOOKS) for number in range(50)]
    everybody = [courier for process in processes for courier in process]
    site.go(20, *everybody)
    site.store.asked.clear()
    site.go(100, *everybody)
    senders = [owner for owner, asked in site.store.asked.items() if asked > 100 / ASK_EVERY]
    assert len(senders) <= 2, "who sends, and who would be next"
    others = sum(asked for owner, asked in site.store.asked.items() if owner not in senders)
    assert others <= 50 * 100 / ASK_EVERY
    site.happen("start")
    site.go(10, *everybody)
    assert sorted(one[0] for one in site.other.got) == sorted(hook.url for hook in HOOKS)


@pytest.mark.parametrize("dead", [1, 2, 9])
def test_half_a_minute_after_senders_were_killed_all_hooks_are_told_again(
    site: Site, dead: int
) -> None:
    processes = [site.fleet(f"p{number}", HOOKS) for number in range(10)]
    site.go(60, *(courier for process in processes for courier in process))
    gone = site.store.holders()[:dead]
    gone += [f"p{number}" for number in range(10) if f"p{number}" not in gone][: dead - len(gone)]
    site.happen("start")
    alive = [
        courier
        for number, one in enumerate(processes)
        if f"p{number}" not in gone
        for courier in one
    ]
    site.go(30, *alive)
    assert sorted(one[0] for one in site.other.got) == sorted(hook.url for hook in HOOKS)


def test_another_service_with_a_hook_in_common_tells_it_when_the_first_is_gone(site: Site) -> None:
    first, second = site.fleet("a", HOOKS[:2]), site.fleet("b", HOOKS[1:3])
    site.happen("start")
    site.go(5, *first, *second)
    assert sorted(one[0] for one in site.other.got) == [hook.url for hook in HOOKS[:3]]
    site.happen("advance")
    site.go(31, *second)
    assert sorted(one[0] for one in site.other.got[3:]) == [hook.url for hook in HOOKS[1:3]]


def test_a_post_that_is_under_way_at_the_end_asks_nothing_of_the_closed_store(site: Site) -> None:
    courier, other = site.courier(), site.courier("b")
    site.go(1, courier, other)
    site.happen("start")
    asked = []

    def post(url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        courier.end()
        site.store.away = True
        asked.append(url)
        return Reply(200)

    site.other.posting = post
    site.go(2, courier)
    courier.leave()
    assert (asked, site.counted["store_error"]) == ([URL], 0)
    site.store.away = False
    site.other.posting = None
    site.go(40, other)
    assert site.other.actions == ["start"], "another process tells it again, under its id"
