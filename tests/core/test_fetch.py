from __future__ import annotations

from itertools import product

import pytest

from canary_middleware.core.fetch import may_draw

SITES = ("none", "same-origin", "same-site", "cross-site")

# method, Sec-Fetch-Site, -Mode, -Dest, may draw, what it is
TABLE = [
    ("GET", None, None, None, True, "an old browser, curl, a library"),
    ("POST", None, None, None, True, "an API client"),
    ("GET", "none", "navigate", "document", True, "typed into the address bar"),
    ("GET", "same-origin", "navigate", "document", True, "a link"),
    ("GET", "same-site", "navigate", "document", True, "a link from a sister site"),
    ("GET", "cross-site", "navigate", "document", True, "a link from a search engine"),
    ("HEAD", "cross-site", "navigate", "document", True, "a safe method"),
    ("POST", "same-origin", "navigate", "document", True, "a form of this site"),
    ("POST", "cross-site", "navigate", "document", False, "coming back from a payment page"),
    ("PUT", "cross-site", "navigate", "document", False, "an unsafe method"),
    ("GET", "same-origin", "navigate", "iframe", False, "a frame of the page"),
    ("GET", "cross-site", "navigate", "iframe", False, "framed by a stranger"),
    ("GET", "same-origin", "navigate", "empty", False, "a download"),
    ("GET", "same-origin", "no-cors", "image", False, "an image of the page"),
    ("GET", "same-origin", "no-cors", "script", False, "a script of the page"),
    ("GET", "same-origin", "no-cors", "style", False, "a style sheet of the page"),
    ("GET", "same-origin", "cors", "font", False, "a font of the page"),
    ("GET", "same-origin", "cors", "script", False, "a module of the page"),
    ("GET", "same-origin", "cors", "empty", True, "fetch() of a page from elsewhere, same origin"),
    ("POST", "same-site", "cors", "empty", True, "fetch() from the front end's host"),
    ("GET", "same-origin", "same-origin", "empty", True, "fetch() in mode same-origin"),
    ("GET", "same-origin", "websocket", "websocket", True, "a WebSocket of the page"),
    ("GET", "same-origin", "websocket", "empty", True, "a WebSocket of Firefox"),
    ("GET", "cross-site", "cors", "empty", False, "a stranger's fetch()"),
    ("GET", "cross-site", "websocket", "websocket", False, "a stranger's WebSocket"),
    ("GET", "cross-site", "no-cors", "image", False, "a stranger's image"),
    ("GET", "same-origin", "no-cors", "empty", False, "sendBeacon()"),
    ("GET", None, "navigate", None, False, "half of the headers"),
    ("GET", "same-origin", None, None, False, "half of the headers"),
    ("GET", "", "", "", False, "empty headers are not absent ones"),
    ("GET", "SAME-ORIGIN", "NAVIGATE", "DOCUMENT", False, "no browser writes this"),
]


@pytest.mark.parametrize(
    ("method", "site", "mode", "dest", "allowed"),
    [row[:5] for row in TABLE],
    ids=["-".join(map(str, (*row[:4], row[5]))) for row in TABLE],
)
def test_who_may_draw(
    method: str, site: str | None, mode: str | None, dest: str | None, allowed: bool
) -> None:
    assert may_draw(method, site, mode, dest) is allowed


def test_no_cross_site_request_draws_but_a_safe_navigation() -> None:
    modes = ("navigate", "cors", "no-cors", "same-origin", "websocket", "nested-document")
    dests = ("document", "empty", "image", "iframe", "websocket", "object")
    drawing = {
        (method, mode, dest)
        for method, mode, dest in product(("GET", "HEAD", "OPTIONS", "POST", "PUT"), modes, dests)
        if may_draw(method, "cross-site", mode, dest)
    }
    assert drawing == {(method, "navigate", "document") for method in ("GET", "HEAD", "OPTIONS")}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("dest", ["image", "script", "style", "font", "audio", "video", "iframe"])
def test_no_part_of_a_page_draws(site: str, dest: str) -> None:
    assert not any(may_draw("GET", site, mode, dest) for mode in ("navigate", "cors", "no-cors"))
