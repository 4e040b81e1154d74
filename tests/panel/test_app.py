"""The panel as a whole, in a real server: in, about, and out again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.requests import Request

from canary_middleware.errors import ConfigurationError
from canary_middleware.panel import panel as make_panel
from canary_middleware.panel.tokens import mint
from canary_middleware.stores import MemoryStore
from tests.panel.rig import Panel
from tests.support.clients import CROSS_SITE_NAVIGATION
from tests.support.servers import wait_until


def test_signs_people_in_and_out(standing: Panel) -> None:
    browser = standing.browser()
    assert browser.see("/").header("Location") == "./sign-in"
    wrong = browser.sign_in(mint())
    assert wrong.status == 401
    assert "no token of this panel" in wrong.text
    entered = browser.sign_in(standing.tokens["alice"])
    assert (entered.status, entered.header("Location")) == (303, "./")
    assert "alice" in browser.see("/").text
    left = browser.send("/sign-out", {})
    assert (left.status, left.header("Location")) == (303, "./sign-in")
    assert browser.see("/").status == 303


def test_the_cookie_is_for_this_panel_and_for_no_script(standing: Panel) -> None:
    browser = standing.browser("alice")
    line = next(line for line in browser.cookies.lines if "canary_panel_shop" in line)
    attributes = {part.strip().lower() for part in line.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= attributes
    assert "secure" not in attributes  # plain HTTP on loopback


@pytest.mark.parametrize(("wanted", "given"), [
    ("rollouts/checkout", "./rollouts/checkout"),
    ("rollouts/checkout?span=1h", "./rollouts/checkout?span=1h"),
    ("//evil.example/x", "./"),
    ("https://evil.example/", "./"),
    ("/\\evil.example", "./"),
    ("javascript:alert(1)", "./"),
    ("../elsewhere", "./"),
    ("a\r\nSet-Cookie: x=y", "./"),
])  # fmt: skip
def test_leads_to_where_one_wanted_to_go_within_the_panel(
    standing: Panel, wanted: str, given: str
) -> None:
    browser = standing.browser()
    fields = {"csrf": browser.csrf("/sign-in"), "token": standing.tokens["bob"], "next": wanted}
    assert browser.post_form("/sign-in", fields).header("Location") == given


def test_remembers_where_one_wanted_to_go(standing: Panel) -> None:
    browser = standing.browser()
    where = browser.see("/rollouts/checkout?span=1h").header("Location")
    assert where == "../sign-in?next=rollouts/checkout%3Fspan%3D1h"
    assert 'value="rollouts/checkout?span=1h"' in browser.see(where[2:]).text


def test_a_link_from_elsewhere_leads_those_in_who_are_signed_in(standing: Panel) -> None:
    browser = standing.browser("alice")
    # What a browser does: no cookie with the first request, nor with where it leads.
    first = browser.request("GET", "/history", fetch=CROSS_SITE_NAVIGATION, with_cookies=False)
    assert first.header("Location") == "./sign-in?next=history"
    second = browser.request(
        "GET", "/sign-in?next=history", fetch=CROSS_SITE_NAVIGATION, with_cookies=False
    )
    assert second.status == 200
    assert 'content="0; url=./history"' in second.text
    assert browser.see("/history").status == 200
    assert standing.browser().see("/history").status == 303


def test_a_removed_line_ends_sessions_and_streams_at_once(panel: Panel) -> None:
    browser = panel.browser("bob")
    with browser.stream("/events?page=overview") as stream:
        assert stream.status == 200
        assert stream.readline()
        lines = panel.file.read_text().splitlines()
        panel.file.write_text("".join(f"{one}\n" for one in lines if not one.startswith("bob")))
        assert browser.see("/").status == 303
        assert panel.bearer("bob", "GET", "/api/status").status == 401
        began = time.monotonic()
        stream.read()  # until its end
        assert time.monotonic() - began < 8
    assert "Traceback" not in panel.log()
    assert panel.browser("alice").see("/").status == 200


def test_a_new_role_counts_at_once(panel: Panel) -> None:
    browser = panel.browser("bob")
    assert browser.see("/kill").status == 403
    panel.file.write_text(panel.file.read_text().replace("bob view", "bob operate"))
    assert browser.see("/kill").status == 200


def test_workers_share_sessions(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> None:
    # A second process that reads the same file; between them there is nothing else.
    other = Panel(tmp_path_factory.mktemp("other"), panel.store_url, panel.namespace)
    other.file.write_text(panel.file.read_text())
    with other:
        here = panel.browser("alice")
        there = other.browser()
        there.cookies.values.update(here.cookies.values)
        assert there.see("/").status == 200


def test_says_why_nobody_can_sign_in(panel: Panel) -> None:
    panel.file.chmod(0o666)
    browser = panel.browser()
    answer = browser.sign_in(panel.tokens["alice"])
    assert answer.status == 401
    assert "may be written by others" in answer.text
    panel.file.chmod(0o600)
    assert browser.sign_in(panel.tokens["alice"]).status == 303


def test_bounds_what_is_sent(standing: Panel) -> None:
    browser = standing.browser("alice")
    large = {"csrf": browser.csrf(), "why": "x" * 70_000}
    answer = browser.post_form("/kill", large)
    assert answer.status == 413
    assert "64 KiB" in answer.text


def test_lives_on_without_its_store_and_says_so(panel: Panel) -> None:
    browser = panel.browser("alice")
    assert browser.see("/").status == 200
    path = Path(panel.store_url.removeprefix("sqlite:///"))
    path.write_bytes(b"no database" * 1_000)
    wait_until(lambda: browser.see("/").status == 503, timeout=5)
    assert browser.see("/healthz").status == 200
    assert panel.bearer("alice", "GET", "/api/status").status == 503


def test_refuses_to_be_made_without_authentication() -> None:
    with pytest.raises(ConfigurationError, match="nobody could be let in"):
        make_panel(MemoryStore(), namespace="shop")


def test_tells_every_mistake_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    missing = tmp_path_factory.mktemp("none") / "panel.tokens"
    with pytest.raises(ConfigurationError) as raised:
        make_panel("memory://", tokens=missing, trust=["nobody"])
    places = {one.place for one in raised.value.problems}
    assert places == {"namespace", "store", "trust", str(missing)}
    with pytest.raises(ConfigurationError, match="both given"):
        make_panel(MemoryStore(), namespace="shop", tokens=missing, check=nobody)


def nobody(request: Request) -> None:
    """A check."""
