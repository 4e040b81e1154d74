"""The panel in a real Chromium: what a person sees and does, with and without script.

Debian's package ``chromium`` has to be installed; without it these tests fail and say so.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from canary_middleware import verbs
from canary_middleware.core.command import Command
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan, Verb
from canary_middleware.stores import StateStore
from tests.panel import shop
from tests.panel.believable import Shop, Traffic
from tests.panel.rig import ALICE, BOB, ROOT, Panel
from tests.panel.screenshots import launch, sign_in
from tests.support.clients import Visitor
from tests.support.servers import Process, free_port, wait_until

EVIL: Final = '<script>window.hit=1</script>"><img src=x onerror="window.hit=1">'
EVIL_PLAN: Final = replace(
    Plan.from_rollout(shop.rollout("checkout")), stable=EVIL, canary=f"2{EVIL}", owner=EVIL,
    paths=(f"/{EVIL}",),
)  # fmt: skip
Theme = Literal["light", "dark"]
PAGES: Final = ("/", "/rollouts/checkout", "/history", "/processes", "/kill", "/sign-in")
_STREAM: Final = "text/event-stream"
SOON: Final = 1.0
"""Seconds in which a second browser has to see what a first one did."""
NOTED: Final = """([within, name, phase]) => {
  const is = (one) => one.textContent.includes(name)
    && (one.querySelector(".badge")?.textContent ?? "").trim().toLowerCase() === phase;
  const look = () => {
    if ([...document.querySelectorAll(within)].some(is)) window.seenAt ??= Date.now() / 1000;
  };
  const all = {subtree: true, childList: true, characterData: true};
  new MutationObserver(look).observe(document.body, all);
}"""
"""Notes when a page first shows a rollout in a phase: asking it again and again is too coarse."""


@dataclass
class Stage:
    """An application with traffic, its store, a panel and a browser."""

    panel: Panel
    store: StateStore
    browser: Browser
    port: int
    wrong: list[str] = field(default_factory=list)

    def context(
        self,
        name: str | None = ALICE,
        *,
        theme: Theme = "light",
        width: int = 1280,
        script: bool = True,
    ) -> BrowserContext:
        """A browser of somebody who is signed in; what goes wrong in it is kept."""
        context = self.browser.new_context(
            color_scheme=theme,
            viewport={"width": width, "height": 720},
            java_script_enabled=script,
        )
        context.on("console", self._console)
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))
        if name is not None:
            page = context.new_page()
            sign_in(page, self.panel.url, self.panel.tokens[name])
            page.close()
        return context

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.wrong.append(message.text)

    def visit(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            with Visitor(self.port) as visitor:
                assert visitor.get(f"/{name}").status == 200


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("browser")
    url, namespace = f"sqlite:///{directory / 'canary.db'}", "shop"
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "--factory", "tests.panel.shop:made", "--port", str(port),
        "--log-level", "warning",
    ]  # fmt: skip
    environment = {"CANARY_STORE": url, "CANARY_NAMESPACE": namespace}
    serving = Process(command, directory / "shop.log", env=environment, cwd=ROOT)
    with (
        serving,
        Panel(directory, url, namespace) as panel,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        serving.wait_port(port)
        store = panel.store()
        stage = Stage(panel, store, browser, port)
        stage.visit("checkout")
        wait_until(lambda: bool(store.processes()), what="a report of the shop")
        _prepare(store)
        yield stage
        store.close()


def _prepare(store: StateStore) -> None:
    """Ten minutes of the past of one rollout, two that wait for a person, and an evil one."""
    plan = Plan.from_rollout(shop.rollout("checkout"))
    began = time.time() - 600
    past = Shop(store)
    past.do(Command(Verb.START, "checkout", plan=plan), began, "ann@laptop")
    traffic = Traffic(past, "checkout", rate=8)
    traffic.flow(began, time.time() - 1)
    traffic.ship()
    for name in ("search", "cart"):
        verbs.start(store, name, by="ann@laptop", plan=Plan.from_rollout(shop.rollout(name)))
        document = store.load().document
        assert document is not None
        command = Command(Verb.AWAIT, name, "50% needs an approval")
        verbs.move(store, document, command, by="agent", evidence={}, now=time.time())
    verbs.start(store, "evil", by=EVIL, why=EVIL, plan=EVIL_PLAN)
    verbs.pause(store, "evil", by=EVIL, why=EVIL)


def _report_evil(store: StateStore) -> None:
    evil = (("evil", EVIL, EVIL),)
    store.report(ProcessReport(EVIL, EVIL, 1, EVIL, 1, 0.1, {"evil": EVIL_PLAN}, silent=evil))


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """The one of this file; nothing may have gone wrong in any browser."""
    running.wrong.clear()
    yield running
    for context in running.browser.contexts:
        context.close()
    assert running.wrong == []


@pytest.fixture
def page(stage: Stage) -> Page:
    """A browser of who operates."""
    return stage.context().new_page()


def go(page: Page, stage: Stage, path: str, *, live: bool = True) -> Page:
    page.goto(f"{stage.panel.url}{path}")
    if live:
        expect(page.locator("#live")).to_contain_text("Live, seen at")
    return page


def test_somebody_signs_in_with_a_token(stage: Stage) -> None:
    page = stage.context(None).new_page()
    page.goto(f"{stage.panel.url}/rollouts/checkout")
    expect(page).to_have_title("Sign in · canary")
    page.get_by_label("Token").fill(stage.panel.tokens[ALICE])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("checkout")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · canary")


def test_numbers_change_without_a_reload(stage: Stage, page: Page) -> None:
    go(page, stage, "/rollouts/checkout")
    page.evaluate("window.same = true")
    row = page.locator("[data-part=versions] tbody tr").nth(1)
    before = row.inner_text()
    stage.visit("checkout", 60)
    expect(row).not_to_have_text(re.compile(re.escape(before)), timeout=10_000)
    wait_until(lambda: row.inner_text() != before, what="other numbers")
    assert page.evaluate("window.same") is True


def test_charts_are_drawn_and_told(stage: Stage, page: Page) -> None:
    go(page, stage, "/rollouts/checkout?span=15m")
    charts = page.locator("figure > svg.chart:visible")
    expect(charts).to_have_count(7)
    for chart in charts.all():
        line = chart.locator("path.line").first
        box, around = line.bounding_box(), chart.bounding_box()
        assert box is not None
        assert around is not None
        assert box["width"] > around["width"] / 2
        assert around["x"] <= box["x"] <= around["x"] + around["width"]
        assert "at the end" in (chart.locator("desc").text_content() or "")
    first = page.locator("figure").first
    first.get_by_text("As a table").click()
    expect(first.get_by_role("row")).not_to_have_count(0)


def seen_soon(second: Page, done: float) -> None:
    """After it was done, at these wall-clock seconds; see :data:`NOTED`."""
    late = second.evaluate("window.seenAt") - done
    print(f"\na second browser saw it after {1_000 * late:.0f} ms (limit 1 s)")
    assert late <= SOON


@pytest.mark.alone
def test_an_approval_by_keyboard_is_seen_by_a_second_browser_within_a_second(stage: Stage) -> None:
    first = go(stage.context().new_page(), stage, "/rollouts/search")
    second = go(stage.context(BOB).new_page(), stage, "/rollouts/search")
    expect(second.locator(".badge")).to_have_text("awaiting approval")
    assert second.get_by_role("button", name="Approve").count() == 0
    second.evaluate(NOTED, ["main", "search", "ramping"])
    for _ in range(15):
        first.keyboard.press("Tab")
        if first.evaluate("document.activeElement.id") == "do-approve":
            break
    first.keyboard.press("Enter")
    expect(first.locator(".notice.good")).to_contain_text("Done: approve search")
    expect(second.locator(".badge")).to_have_text("ramping")
    expect(second.locator("#announce")).to_contain_text("search: approve")
    expect(first.locator(".trail li").first).to_contain_text("alice (panel, from 127.0.0.1)")
    (line, *_) = verbs.history(stage.store, "search", 1)
    assert (line.action, line.by) == ("approve", "alice (panel, from 127.0.0.1)")
    seen_soon(second, line.at)


@pytest.mark.alone
def test_a_kill_by_mouse_is_seen_by_a_second_browser_within_a_second(stage: Stage) -> None:
    first = go(stage.context().new_page(), stage, "/rollouts/cart")
    second = go(stage.context(BOB).new_page(), stage, "/")
    card = second.locator("article", has_text="cart")
    expect(card.locator(".badge")).to_have_text("awaiting approval")
    second.evaluate(NOTED, ["article", "cart", "killed"])
    first.get_by_role("link", name="Kill cart").click()
    expect(first.get_by_role("heading", level=1)).to_have_text("Kill cart?")
    expect(first.locator(".said").last).to_contain_text("go back to 1.4.2 at once")
    first.get_by_label("Reason").fill("orders are charged twice")
    first.get_by_role("button", name="Kill cart now").click()
    expect(first.locator(".badge")).to_have_text("killed", ignore_case=True)
    expect(card.locator(".badge")).to_have_text("killed", ignore_case=True)
    expect(first.locator(".trail li").first).to_contain_text("orders are charged twice")
    (line, *_) = verbs.history(stage.store, "cart", 1)
    assert (line.action, line.why) == ("kill", "orders are charged twice")
    seen_soon(second, line.at)
    first.get_by_role("link", name="Revive").click()
    first.get_by_role("button", name="Revive it").click()
    expect(first.locator(".badge")).to_have_text("paused")


def test_everything_is_killed_by_keyboard_alone(stage: Stage, page: Page) -> None:
    go(page, stage, "/history", live=False)
    link = page.get_by_role("link", name="Kill everything")
    for _ in range(10):
        page.keyboard.press("Tab")
        if link.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.keyboard.type("a bad night")
    page.keyboard.press("Enter")
    expect(page.locator(".notice.good")).to_contain_text("Done: kill everything")
    expect(page.locator("[data-part=notes]")).to_contain_text("a bad night")
    page.get_by_role("link", name="Revive everything").press("Enter")
    page.get_by_role("button", name="Revive it").press("Enter")
    expect(page.locator(".notice.good")).to_contain_text("Done: revive everything")


def test_focus_and_what_was_opened_outlive_an_update(stage: Stage, page: Page) -> None:
    go(page, stage, "/rollouts/checkout")
    summary = page.locator("#said > summary")
    summary.press("Enter")
    expect(page.locator("#said")).to_have_attribute("open", "")
    page.evaluate("document.querySelector('#said').old = true")
    stage.visit("checkout", 30)
    expect(page.locator("[data-part=evidence]")).to_contain_text("To a rollback")
    wait_until(lambda: not page.evaluate("document.querySelector('#said').old"), what="an update")
    expect(page.locator("#said")).to_have_attribute("open", "")
    expect(summary).to_be_focused()


def test_without_script_all_reads_and_forms_work(stage: Stage) -> None:
    context = stage.context(script=False)
    page = context.new_page()
    for path in ("/", "/rollouts/checkout"):
        go(page, stage, path, live=False)
        assert page.locator('noscript meta[http-equiv="refresh"]').count() == 1
        assert "1.5.0" in page.locator("main").inner_text()
    assert page.locator("figure > svg.chart path.line").count() >= 7
    page.get_by_role("link", name="Set weight").click()
    page.get_by_label("Share of visitors").fill("30%")
    page.get_by_role("button", name="Set the weight").click()
    expect(page.locator(".notice.good")).to_contain_text("Done: weight checkout")
    expect(page.locator(".badge")).to_have_text("paused")
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("checkbox", name="Skip the approval").check()
    page.get_by_role("button", name="Resume it").click()
    expect(page.locator(".badge")).to_have_text("ramping")


def test_no_text_of_a_stranger_is_markup(stage: Stage, page: Page) -> None:
    _report_evil(stage.store)
    for path in ("/", "/rollouts/evil", "/rollouts/evil/promote", "/history", "/processes"):
        go(page, stage, path, live=False)
        assert EVIL in page.locator("main").inner_text(), path
        assert page.locator("img").count() == 0
        assert page.evaluate("window.hit") is None
    go(page, stage, "/rollouts/evil")
    verbs.rollback(stage.store, "evil", by=EVIL, why=EVIL)
    expect(page.locator(".badge")).to_have_text("rolled back")
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize(("theme", "width"), [("light", 360), ("dark", 1280)])
def test_no_page_is_wider_than_its_window(stage: Stage, theme: Theme, width: int) -> None:
    context = stage.context(theme=theme, width=width)
    page = context.new_page()
    for path in (*PAGES, "/rollouts/evil", "/rollouts/evil/kill", "/rollouts/checkout/weight"):
        go(page, stage, path, live=False)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


RULES: Final = """() => {
  const wrong = [];
  const named = (one) => (one.getAttribute("aria-label") || one.textContent || "").trim();
  for (const one of document.querySelectorAll("a, button, summary")) {
    if (!named(one)) wrong.push("no name: " + one.outerHTML.slice(0, 80));
  }
  for (const one of document.querySelectorAll("input:not([type=hidden]), select")) {
    if (!one.labels.length) wrong.push("no label: " + one.outerHTML.slice(0, 80));
  }
  for (const one of document.querySelectorAll("a.button, button, nav a")) {
    const box = one.getBoundingClientRect();
    if (box.width && box.height < 24) wrong.push("too small: " + one.textContent);
  }
  for (const one of document.querySelectorAll("svg:not([aria-hidden]):not([role=img])")) {
    wrong.push("an image that nobody can name: " + one.outerHTML.slice(0, 80));
  }
  if (document.querySelectorAll("main, [role=main]").length !== 1) wrong.push("not one main");
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (!document.documentElement.lang) wrong.push("no language");
  return wrong;
}"""


def test_everything_has_a_name_and_can_be_hit(stage: Stage, page: Page) -> None:
    for path in (*PAGES, "/rollouts/checkout/weight", "/rollouts/nobody"):
        page.goto(f"{stage.panel.url}{path}")
        assert page.evaluate(RULES) == [], path
    stage.wrong.clear()  # a page that is not there is an error on the console


def test_the_first_stop_of_the_keyboard_skips_to_the_content(stage: Stage, page: Page) -> None:
    go(page, stage, "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_page_says_since_when_it_is_old(stage: Stage, page: Page) -> None:
    said = 'data: {"trouble": "The store does not answer: refused"}\n\n'
    page.route("**/events*", lambda route: route.fulfill(content_type=_STREAM, body=said))
    go(page, stage, "/", live=False)
    expect(page.locator("#stale")).to_contain_text("The store does not answer: refused. What you")
    page.unroute("**/events*")
    expect(page.locator("#live")).to_contain_text("Live, seen at")
    expect(page.locator("#stale")).to_be_hidden()


def test_without_a_stream_the_page_is_asked_for_again(stage: Stage, page: Page) -> None:
    page.route("**/events*", lambda route: route.fulfill(status=503))
    go(page, stage, "/processes", live=False)
    expect(page.locator("#live")).to_contain_text("Asked for again every few seconds")
    page.unroute("**/events*")
    expect(page.locator("#live")).to_contain_text("Live, seen at", timeout=10_000)
    stage.wrong.clear()  # a refused stream is an error on the console
