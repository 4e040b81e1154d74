"""What pages say and ask, for who may operate and who may only look."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import cast
from urllib.parse import quote

import pytest

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Phase, Verb
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.panel.pages.looking import lines, look
from canary_middleware.panel.pages.plots import Charts, span_of
from canary_middleware.stores import Loaded, StateStore, open_store
from tests.panel.believable import PLANS, Shop, Traffic
from tests.panel.reader import VIEWER, Elements, Reader, reading
from tests.panel.stages import BY, PLAN, declared

EVIL = "<script>hit()</script>\"><img src=x onerror='hit()'>\u202e\x1b[31m"
TITLES = {
    "start": "Start", "weight": "Set the weight", "pause": "Pause", "resume": "Resume",
    "approve": "Approve", "promote": "Promote", "rollback": "Roll back", "finish": "Finish",
    "rebase": "Take over", "kill": "Kill", "revive": "Revive",
}  # fmt: skip


@pytest.fixture
def store() -> Iterator[StateStore]:
    made = open_store("memory://", "shop")
    yield made
    made.close()


@pytest.fixture
def reader(store: StateStore) -> Iterator[Reader]:
    with reading(store) as found:
        yield found


def started(store: StateStore, name: str = "checkout") -> None:
    """A measured rollout, ten minutes on its way, with what was counted of it."""
    store.report(ProcessReport("p1", "web-1", 4711, "asgi", 1, 0.3, {name: PLANS[name]}))
    began = time.time() - 600
    shop = Shop(store)
    shop.do(Command(Verb.START, name, "one page", plan=PLANS[name]), began, "ann@laptop")
    traffic = Traffic(shop, name, rate=5)
    traffic.flow(began, time.time() - 1)
    traffic.ship()


def test_an_empty_namespace_says_what_to_do(reader: Reader) -> None:
    page = reader.page("/")
    assert "No process declares a rollout here" in page
    assert "is an application running" in page
    assert 'href="./kill"' in page


def test_the_overview_tells_of_every_rollout(store: StateStore, reader: Reader) -> None:
    started(store)
    declared(store, "idle-one")
    text = Elements(reader.page("/")).text
    for said in ("checkout", "ramping", "1%", "1.5.0", "Next: 5%,", "idle-one", "Nobody has"):
        assert said in text
    assert text.index("checkout") < text.index("idle-one")


def test_a_rollout_has_everything_that_a_person_on_call_asks_for(
    store: StateStore, reader: Reader
) -> None:
    started(store)
    page = reader.page("/rollouts/checkout")
    found = Elements(page)
    for said in (
        "What happens next", "at the earliest", "Exposed to it so far", "p99", "errors",
        "To a rollback", "evidence", "conversions", "web-1", "4711", "ann@laptop", "one page",
        "Weight, share of visitors on canary", "Time until an answer starts, p95",
    ):  # fmt: skip
        assert said in found.text, said
    charts = [one for one in found.of("svg") if one.get("class") == "chart"]
    assert len(charts) == 11
    assert all(one["role"] == "img" and one["aria-labelledby"] for one in charts)
    lines = [one for one in found.of("path") if one.get("class") == "line stable"]
    assert len([one for one in lines if str(one["d"]).count("L") > 8]) >= 6


@pytest.mark.parametrize("span", ["15m", "1h", "6h", "1d"])
def test_the_time_of_charts_is_chosen_without_script(
    store: StateStore, reader: Reader, span: str
) -> None:
    started(store)
    page = reader.page(f"/rollouts/checkout?span={span}")
    assert f'href="?span={span}" aria-current="true"' in page


def test_a_young_run_fills_its_charts(store: StateStore, reader: Reader) -> None:
    started(store)
    assert 'href="?span=15m" aria-current="true"' in reader.page("/rollouts/checkout")
    # Of a wrong choice, and of an old run, an hour.
    found = look(store, "shop")
    view = found.views["checkout"]
    assert view.entry is not None
    old = replace(view, entry=replace(view.entry, begun=found.at - 2_000))
    drawn = [Charts(store).of(one, [], span_of("nonsense"), found.at + 200) for one in (view, old)]
    assert [one["span"] for one in drawn] == ["15m", "1h"]
    (young, _) = (Elements(one["charts"][0].svg) for one in drawn)
    (path,) = [one for one in young.of("path") if one.get("class") == "line canary"]
    start = float(str(path["d"]).removeprefix("M").split()[0])
    assert start < 48 + 0.1 * 1_200


def test_who_views_sees_no_form_and_no_way_to_one(store: StateStore) -> None:
    started(store)
    with reading(store, VIEWER) as reader:
        for path in ("/", "/rollouts/checkout", "/history", "/processes"):
            found = Elements(reader.page(path))
            assert not found.of("form", "button")
            links = [str(one["href"]) for one in found.of("a")]
            assert not [link for link in links if link.rpartition("/")[2] in TITLES]
        for verb in TITLES:
            assert "may look and change nothing" in reader.page(f"/rollouts/checkout/{verb}", 403)


@pytest.mark.parametrize("verb", TITLES)
def test_every_verb_has_a_page_or_says_why_it_does_not_fit(
    store: StateStore, reader: Reader, verb: str
) -> None:
    for stage in (declared, started):
        stage(store, "checkout")
        page = reader.page(f"/rollouts/checkout/{verb}")
        assert f'<h1 id="question">{TITLES[verb]}' in page
        assert ('role="alert"' in page) or ("<form" in page.partition("<main")[2])


def test_a_promotion_says_whom_it_hits_and_what_speaks_against_it(
    store: StateStore, reader: Reader
) -> None:
    started(store)
    page = reader.page("/rollouts/checkout/promote")
    assert "checkout: everybody gets 1.5.0 (now 1%)" in page
    assert "the evidence does not speak for it yet" in page
    refused = reader.send("/rollouts/checkout/promote", {}, 409)
    assert "the evidence does not speak for it yet" in refused
    done = reader.follow("/rollouts/checkout/promote", {"anyway": "yes", "why": "I know"})
    assert "Done: promote checkout" in done
    assert "I know" in done
    (line, *_) = verbs.history(store, "checkout", 1)
    assert line.by.startswith("alice (panel, from ")


def test_a_kill_says_whom_it_hits_and_is_lifted_again(store: StateStore, reader: Reader) -> None:
    started(store)
    page = reader.page("/kill")
    assert "checkout: 1% of visitors on 1.5.0 and all testers go back to 1.4.2" in page
    killed = reader.follow("/rollouts/checkout/kill", {"why": "it hurts"})
    text = Elements(killed).text
    assert "Checkout was killed 0 s ago by alice" in text
    assert "1% (0% now)" in text
    assert "it hurts" in text
    assert "Everybody stays on stable until the kill is lifted." in text
    assert "1.5.0 for 1% of visitors" in reader.page("/rollouts/checkout/revive")
    assert "Done: revive checkout" in reader.follow("/rollouts/checkout/revive", {})


def test_everything_is_killed_and_revived_from_every_page(
    store: StateStore, reader: Reader
) -> None:
    started(store)
    for path, link in (("/", "./kill"), ("/history", "./kill"), ("/rollouts/checkout", "../kill")):
        assert f'href="{link}"' in reader.page(path)
    assert "Everything was killed" in reader.follow("/kill", {"why": "all"})
    assert "Revive everything" in reader.page("/")
    assert "Done: revive everything" in reader.follow("/revive", {})


def test_the_first_start_and_the_weight_by_hand(store: StateStore, reader: Reader) -> None:
    declared(store, "checkout")
    assert "1.5.0: checkout begins at 1%" in Elements(reader.page("/rollouts/checkout/start")).text
    reader.follow("/rollouts/checkout/start", {"release": "1.5.0", "weight": "", "why": ""})
    assert "paused" in reader.follow("/rollouts/checkout/weight", {"weight": "12.5%"})
    document = store.load().document
    assert document is not None
    entry = document.entry("checkout", "1.5.0")
    assert entry is not None
    assert (entry.phase, entry.weight) == (Phase.PAUSED, 12_500)
    refused = reader.send("/rollouts/checkout/weight", {"weight": "lots"}, 422)
    assert "has no percent sign" in refused


def test_what_somebody_changed_meanwhile_is_not_overrun(store: StateStore, reader: Reader) -> None:
    started(store)
    verbs.pause(store, "checkout", by=BY)
    refused = reader.send("/rollouts/checkout/weight", {"weight": "50%", "if_revision": "1"}, 409)
    assert "It was changed meanwhile" in refused


def test_a_release_that_was_rolled_back_starts_again_only_on_purpose(
    store: StateStore, reader: Reader
) -> None:
    started(store)
    verbs.rollback(store, "checkout", by=BY)
    page = reader.page("/rollouts/checkout/start")
    assert "Start it although it was rolled back" in page
    reader.send("/rollouts/checkout/start", {"release": "1.5.0"}, 409)
    reader.follow("/rollouts/checkout/start", {"release": "1.5.0", "again": "yes"})


def test_a_window_is_closed_early_only_on_purpose(store: StateStore, reader: Reader) -> None:
    started(store)
    verbs.promote(store, "checkout", by=BY)
    page = reader.page("/rollouts/checkout/finish")
    assert "Close it although its rollback window is open" in page
    reader.send("/rollouts/checkout/finish", {}, 409)
    assert "Done: finish" in reader.follow("/rollouts/checkout/finish", {"early": "yes"})


def test_an_approval_is_skipped_only_on_purpose(store: StateStore, reader: Reader) -> None:
    started(store, "search")
    verbs.weight(store, "search", 10_000, by=BY)
    page = reader.page("/rollouts/search/resume")
    assert "Skip the approval on the way" in page
    reader.send("/rollouts/search/resume", {}, 409)
    reader.follow("/rollouts/search/resume", {"skip_approval": "yes"})


def test_unknown_rollouts_and_verbs_are_not_there(reader: Reader) -> None:
    assert "There is no such page" in reader.page("/rollouts/nobody", 404)
    assert "There is no such page" in reader.page("/rollouts/nobody/dance", 404)
    reader.page("/rollouts/%3Cscript%3E", 404)


def test_the_history_has_pages_and_a_filter(store: StateStore, reader: Reader) -> None:
    declared(store, "checkout")
    verbs.start(store, "checkout", by=BY, plan=PLAN)
    for at in range(40):
        verbs.weight(store, "checkout", 1_000 * (at + 1), by=BY)
    first, second = reader.page("/history"), reader.page("/history?page=2")
    assert "page 1" in first
    assert "Older" in first
    assert "Newer" not in first
    assert "Newer" in second
    assert "Older" not in second
    assert first.count("<li>") + second.count("<li>") == 41
    assert "Nothing has happened yet" in reader.page("/history?rollout=other")
    for page in ("0", "-1", "x", "99999999999999999999", "²"):
        reader.page(f"/history?page={page}")


def test_an_address_makes_nobody_say_anything(store: StateStore, reader: Reader) -> None:
    started(store)
    page = reader.page("/?did=promote%20everything&revision=1")
    assert "Done" not in Elements(page).text


def test_no_text_of_a_stranger_is_markup(store: StateStore, reader: Reader) -> None:
    plan = replace(PLAN, stable=EVIL, canary=f"2{EVIL}", owner=EVIL, paths=(f"/{EVIL}",))
    store.report(
        ProcessReport(
            EVIL, EVIL, 1, EVIL, 1, 0.1, {"evil": plan}, kill_file=EVIL,
            silent=(("evil", EVIL, EVIL),),
        )
    )  # fmt: skip
    verbs.start(store, "evil", by=EVIL, why=EVIL, plan=plan)
    verbs.pause(store, "evil", by=EVIL, why=EVIL)
    paths = ("/", "/rollouts/evil", "/history", "/processes", "/kill", "/rollouts/evil/promote")
    pages = [reader.page(path) for path in paths]
    store.kill("evil", by=EVIL, why=EVIL, now=time.time())
    pages += [reader.page(path) for path in (*paths, f"/history?rollout={quote(EVIL)}")]
    for page in pages:
        found = Elements(page)
        assert [str(one["src"]).rpartition("/")[2] for one in found.of("script")] == ["panel.js"]
        assert not found.of("img", "style")
        assert not [name for _, given in found.found for name in given if name.startswith("on")]
        assert not [given for _, given in found.found if "style" in given]
        assert "\u202e" not in page
        assert "\x1b" not in page
    assert "<script>hit()</script>" in Elements(pages[0]).text


class Away:
    """A store that does not answer, but takes a kill."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.kill = store.kill
        self.processes = store.processes

    def load(self) -> Loaded:
        raise StoreUnavailableError("refused")


def test_a_kill_can_be_asked_for_while_the_store_does_not_answer(store: StateStore) -> None:
    with reading(cast("StateStore", Away(store))) as reader:
        assert "The store does not answer" in reader.page("/", 503)
        assert 'href="./kill"' in reader.page("/", 503)
        assert reader.page("/", 503).count("go on with what they know") == 1
        assert "snapshot_path&gt;/shop.kill</code> on each host" in reader.page("/", 503)
        page = reader.page("/kill")
        assert "Whom it hits cannot be told now: refused" in page
        reader.send("/kill", {"why": "blind"})
    assert store.load().document is not None


def test_pages_are_ordered_for_screen_readers(store: StateStore, reader: Reader) -> None:
    started(store)
    for path in ("/", "/rollouts/checkout", "/history", "/processes", "/kill"):
        found = Elements(reader.page(path))
        levels = [int(tag[1]) for tag, _ in found.found if tag in {"h1", "h2", "h3", "h4"}]
        assert levels.count(1) == 1, path
        assert all(after - before <= 1 for before, after in pairwise(levels))
        ids = [given["id"] for _, given in found.found if given.get("id")]
        assert len(ids) == len(set(ids)), path
        named = {given[name] for _, given in found.found for name in ("id",) if given.get(name)}
        for _, given in found.found:
            for name in ("aria-labelledby", "aria-describedby", "for"):
                assert set((given.get(name) or "").split()) <= named
        assert len(found.of("main")) == len(found.of("header")[:1]) == 1
        assert all(one.get("scope") for one in found.of("th"))
        assert len(found.of("caption")) == len(found.of("table"))


def test_the_weight_is_drawn_as_it_was_to_the_second(store: StateStore) -> None:
    started(store)
    verbs.weight(store, "checkout", 40_000, by=BY)
    verbs.kill(store, "checkout", by=BY)
    found = look(store, "shop")
    now = found.at + 30
    drawn = Charts(store).of(found.views["checkout"], [], span_of("15m"), now)
    weight = drawn["charts"][0]
    assert weight.title.startswith("Weight")
    (path,) = [one for one in Elements(weight.svg).of("path") if one.get("class") == "line canary"]
    heights = [float(one.split()[1]) for one in str(path["d"]).removeprefix("M").split("L")]
    one, forty, nothing = 164.5, 106.0, 166.0
    assert heights[0] == pytest.approx(one, abs=2)
    assert min(heights) == pytest.approx(forty, abs=2)
    assert heights[-2:] == [nothing, nothing]


def test_a_kill_that_was_lifted_is_drawn_as_long_as_it_lasted(store: StateStore) -> None:
    started(store)
    verbs.weight(store, "checkout", 40_000, by=BY)
    verbs.kill(store, by=BY)
    verbs.kill(store, "checkout", by=BY)
    verbs.revive(store, by=BY)
    verbs.revive(store, "checkout", by=BY)
    found = look(store, "shop")
    past = lines(store, "checkout")
    drawn = Charts(store).of(found.views["checkout"], past, span_of("15m"), found.at + 30)
    (path,) = [
        one
        for one in Elements(drawn["charts"][0].svg).of("path")
        if one.get("class") == "line canary"
    ]
    heights = [float(one.split()[1]) for one in str(path["d"]).removeprefix("M").split("L")]
    forty, nothing = 106.0, 166.0
    down = heights.index(nothing)
    assert 0 < down < len(heights) - 1
    assert heights.count(nothing) == 2, "once down, and up again"
    assert heights[-1] == pytest.approx(forty, abs=2)
