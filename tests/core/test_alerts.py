from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core import alerts
from canary_middleware.core.alerts import LIMIT, POISON_LIMIT, Position, pending
from canary_middleware.core.records import Audit
from canary_middleware.core.state import EVERYTHING, Phase
from canary_middleware.core.webhook import EVENTS, QUIET, Webhook, key_of, signed
from tests.core.control import document, entry, killed

PAGE = Path(__file__).parents[2] / "docs" / "alerts.md"
LINE = Audit(10.0, "me@host", "advance", "checkout", "2 ramping 1%", "2 ramping 5%", "fine", 4)
START = Position("", -1, 5.0, "")


def line(revision: int, **changes: Any) -> Audit:
    return replace(LINE, at=10.0 * revision, revision=revision, **changes)


def history(*revisions: int) -> list[Audit]:
    """Newest first."""
    return [line(revision) for revision in reversed(revisions)]


def revisions(found: alerts.Pending) -> list[int]:
    return [one.revision for one in found.lines]


def at(revision: int, lineage: str = "ab") -> Position:
    return alerts.place_after("shop", line(revision), lineage)


# --- which lines --------------------------------------------------------------------------------


def test_a_line_has_one_id_and_no_other_line_has_it() -> None:
    ids = {alerts.id_of("shop", one) for one in (LINE, replace(LINE), line(5), line(6))}
    assert len({*ids, alerts.id_of("other", LINE)}) == 4
    assert all(re.fullmatch(r"evt_[0-9a-f]{32}", one) for one in ids)


def test_what_comes_after_the_last_one_told_is_told_oldest_first() -> None:
    assert revisions(pending("shop", history(1, 2, 3, 4), at(2), "ab", 64)) == [3, 4]
    assert revisions(pending("shop", history(1, 2), at(2), "ab", 64)) == []


def test_the_place_is_found_by_its_line_whatever_the_clocks_say() -> None:
    lines = [replace(line(3), at=1.0), line(2)]
    assert revisions(pending("shop", lines, at(2), "ab", 64)) == [3]


def test_whoever_is_new_is_told_of_nothing_old() -> None:
    began = replace(START, at=25.0)
    assert revisions(pending("shop", history(1, 2), began, "ab", 64)) == []
    assert revisions(pending("shop", history(1, 2, 3), began, "ab", 64)) == [3]


def test_more_is_read_until_the_place_is_found() -> None:
    few = pending("shop", history(7, 8), at(3), "ab", 2)
    assert (revisions(few), few.whole) == ([7, 8], False)
    assert pending("shop", history(7, 8), at(3), "ab", 64).whole
    assert pending("shop", history(1, 7), replace(START, at=25.0), "ab", 2).whole


def test_what_history_has_dropped_is_counted() -> None:
    assert pending("shop", history(7, 8), at(3), "ab", 64).missed == 3
    assert pending("shop", history(4, 5), at(3), "ab", 64).missed == 0
    assert pending("shop", history(7), at(3, "other"), "ab", 64).missed == 0, "nobody knows"
    assert pending("shop", history(7), START, "ab", 64).missed == 0


def test_the_restore_of_an_emptied_store_is_told() -> None:
    """It has the revision of the document that was restored, which was told before."""
    restored = line(3, action="restore", scope=EVERYTHING)
    restored = replace(restored, at=99.0)
    assert revisions(pending("shop", [restored], at(3), "ab", 64)) == [3]


def test_a_place_comes_back_and_nothing_else_does() -> None:
    assert alerts.read_place(at(4).text()) == at(4)
    assert len(at(2**53 - 1).text().encode()) < 1_000
    for other in (None, "", "x", "[]", '{"id":1}', at(4).text() + " " * 999, "\ud800"):
        assert alerts.read_place(other) is None


# --- when ---------------------------------------------------------------------------------------


def test_it_waits_longer_and_never_in_step() -> None:
    middles = [alerts.pause(tries, 0.5) for tries in range(1, 9)]
    assert middles == [1, 3, 10, 30, 60, 120, 300, 300]
    assert alerts.pause(1, 0.0) < alerts.pause(1, 0.999)


def test_a_receiver_may_ask_for_more_time_within_limits() -> None:
    assert alerts.pause(1, 0.5, asked=90.0) == 90.0
    assert alerts.pause(6, 0.5, asked=1.0) == 120.0
    assert alerts.pause(1, 0.5, asked=1e9) == 3_600.0


@pytest.mark.parametrize(("tries", "age", "poison", "over"), [
    (100, LIMIT - 1, False, False), (3, LIMIT, False, True), (2, LIMIT, False, False),
    (3, POISON_LIMIT, True, True), (3, POISON_LIMIT, False, False),
    (3, POISON_LIMIT - 1, True, False),
])  # fmt: skip
def test_an_event_is_given_up_so_that_others_come_through(
    tries: int, age: float, poison: bool, over: bool
) -> None:
    assert alerts.given_up(tries, age, poison=poison) is over


# --- what is said -------------------------------------------------------------------------------


def told(given: Audit = LINE, why: str = "fine", missed: int = 0) -> alerts.Event:
    return alerts.event("shop", given, why, document(entry(Phase.RAMPING)), missed)


def test_an_event_says_what_history_says() -> None:
    found = json.loads(alerts.as_json(told(missed=2)))
    assert found == {
        "type": "canary.advance", "timestamp": "1970-01-01T00:00:10.000+00:00",
        "id": alerts.id_of("shop", LINE), "at": 10.0, "namespace": "shop", "rollout": "checkout",
        "release": "2", "stable": "1", "action": "advance", "old": "2 ramping 1%",
        "new": "2 ramping 5%", "by": "me@host", "why": "fine", "revision": 4,
        "lineage": "lineage", "missed": 2, "evidence": {},
    }  # fmt: skip


def test_what_is_about_everything_is_about_no_rollout() -> None:
    everything = replace(LINE, action="kill", scope=EVERYTHING, old="", new="killed")
    found = json.loads(alerts.as_json(told(everything)))
    assert (found["rollout"], found["release"], found["stable"]) == (None, None, None)


def test_a_kill_names_the_current_release() -> None:
    found = alerts.event("shop", replace(LINE, old="", new="killed"), "", killed(document(entry())))
    assert (found.release, found.stable) == ("2", "1")


def test_labels_come_from_the_evidence_where_the_release_is_forgotten() -> None:
    old = replace(LINE, evidence={"release": "9", "stable": "8"})
    assert (told(old).release, told(old).stable) == ("9", "8")
    assert alerts.event("shop", LINE, "", None).release == ""


def test_a_time_that_no_calendar_has_is_no_error() -> None:
    assert json.loads(alerts.as_json(told(replace(LINE, at=1e11))))["at"] == 1e11
    assert json.loads(alerts.as_json(told(replace(LINE, at=1e18))))["timestamp"] == ""


def test_slack_gets_one_text() -> None:
    (text,) = json.loads(alerts.as_slack(told(missed=2))).values()
    assert text.splitlines() == [
        ":bird: *checkout* 2 *advance* (shop): 2 ramping 1% → 2 ramping 5%",
        "> fine",
        "by me@\u200bhost, revision 4",
        "_up to 2 earlier events were lost_",
    ]


@pytest.mark.parametrize("evil", ["<!channel>", "<@U123>", "@here", "@everyone", "&lt;!here>"])
@pytest.mark.parametrize("field", ["by", "old", "new", "why"])
def test_nobody_is_called_by_what_strangers_wrote(field: str, evil: str) -> None:
    strange: dict[str, Any] = {} if field == "why" else {field: evil}
    given = replace(LINE, **strange)
    (text,) = json.loads(alerts.as_slack(told(given, evil if field == "why" else ""))).values()
    assert not re.search(r"<|@(?!\u200b)|&(?!(amp|lt|gt);)", text)
    assert evil not in text


@given(st.text())
def test_any_text_is_one_line_of_bounded_length(text: str) -> None:
    found = alerts.plain(text)
    assert "\n" not in found
    assert "<" not in found
    assert len(found) <= 5 * 1_200


def test_every_format_of_a_hook_has_a_body() -> None:
    for name, body in alerts.BODIES.items():
        assert json.loads(body(told()))
        assert Webhook("https://a.example", format=name).format == name


# --- the page -----------------------------------------------------------------------------------


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_shows_what_is_sent() -> None:
    shown, asked = map(json.loads, blocks("json"))
    found = json.loads(alerts.as_json(told()))
    assert list(shown) == list(found)
    assert asked["type"] == "canary.gate"
    page = PAGE.read_text(encoding="utf-8")
    assert [one for one in found if f"`{one}`" not in page] == []
    assert [one for one in (*EVENTS, *QUIET) if f"`{one}`" not in page] == []


def verifier() -> Callable[..., bool]:
    scope: dict[str, Any] = {}
    exec(compile(blocks("python")[1], str(PAGE), "exec"), scope)
    found: Callable[..., bool] = scope["genuine"]
    return found


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "s" * 32])
def test_the_page_shows_how_a_signature_is_checked(secret: str) -> None:
    genuine, body = verifier(), alerts.as_json(told())
    head = signed(key_of(secret), told().id, 1_000, body)
    assert genuine(head, body, secret, now=1_200.0)
    rotated = {**head, "webhook-signature": f"v1,AAAA {head['webhook-signature']}"}
    assert genuine(rotated, body, secret, now=1_200.0)
    assert not genuine(head, body, secret, now=1_301.0), "an old one, repeated"
    assert not genuine(head, body + b" ", secret, now=1_000.0)
    assert not genuine({**head, "webhook-id": "evt_2"}, body, secret, now=1_000.0)
    assert not genuine({**head, "webhook-timestamp": "1001"}, body, secret, now=1_000.0)
    assert not genuine(head, body, "t" * 32, now=1_000.0)


def test_the_declarations_on_the_page_are_good(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    code = blocks("python")[0].replace("sqlite:///", f"sqlite:///{tmp_path}/")
    exec(compile(code, str(PAGE), "exec"), scope)
    scope["canary"].stop()
    code = blocks("python")[2].replace("\nRamp(", "\nmade = Ramp(")
    exec(compile(code, str(PAGE), "exec"), scope)
    assert scope["made"].gate.startswith("https://")
