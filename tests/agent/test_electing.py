"""Who asks for webhooks, who goes on with them, and that nobody asks at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.agent import Agent
from canary_middleware.agent.alerting import Alerts
from canary_middleware.agent.electing import ASK_EVERY
from canary_middleware.agent.posting import Reply
from canary_middleware.core.webhook import Webhook
from canary_middleware.stores import open_store
from tests.agent.held import Held
from tests.agent.hooked import URL, Site


@pytest.fixture
def site() -> Site:
    return Site()


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


def open_files(path: Path) -> list[str]:
    """Which files that begin so this process has open."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(one.readlink()))
    return [name for name in found if name.startswith(str(path))]


def test_an_agent_that_ends_in_the_middle_of_a_post_leaves_its_store_closed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.db"
    store = open_store(f"sqlite:///{path}", "shop")
    posting, answered, held = threading.Event(), threading.Event(), Held()

    def post(url: str, body: bytes, headers: Mapping[str, str], read: int) -> Reply:
        posting.set()
        assert answered.wait(30)
        return Reply(200)

    agent = Agent(held, store, namespace="shop", alerts=Alerts((Webhook(URL),), post=post))
    agent.ensure_started()
    assert agent.wait_first_load(30)
    verbs.kill(store, by="me")
    assert posting.wait(30)
    (courier,) = [one for one in threading.enumerate() if one.name == "canary-alerts-0"]
    agent.stop()
    store.close()
    answered.set()
    courier.join(30)
    assert not courier.is_alive()
    assert open_files(path) == []
