"""The panel as a whole, in a real server."""

from __future__ import annotations

from tests.panel.rig import Panel


def test_signs_people_in_and_out(panel: Panel) -> None:
    browser = panel.browser()
    assert browser.see("/").status == 303
    assert browser.sign_in("cnp_" + "x" * 43).status == 401
    assert browser.sign_in(panel.tokens["alice"]).status == 303
    assert browser.see("/").status in {200, 404}
    assert browser.see("/healthz").text == "ok\n"
