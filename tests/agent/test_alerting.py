"""What a hook is told, by whom, when and how often."""

from __future__ import annotations

import logging

import pytest

from canary_middleware.agent.alerting import Alerts
from canary_middleware.agent.electing import ASK_EVERY, RENEW_EVERY
from canary_middleware.core.alerts import LIMIT
from canary_middleware.core.records import Audit
from canary_middleware.core.webhook import Webhook
from tests.agent.hooked import PACE, SECRET, URL, Site


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
