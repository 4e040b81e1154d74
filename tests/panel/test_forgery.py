"""What another site could make a browser send, and what tells it (S16)."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from canary_middleware.panel.forgery import fits, is_foreign, token_of

HOST = {"host": "canary.example.com"}


@pytest.mark.parametrize(("headers", "foreign"), [
    ({}, False),  # no browser; it needs the token all the same
    ({"sec-fetch-site": "same-origin"}, False),
    ({"sec-fetch-site": "none"}, False),
    ({"sec-fetch-site": "same-site"}, True),
    ({"sec-fetch-site": "cross-site"}, True),
    ({"sec-fetch-site": ""}, True),
    ({"sec-fetch-site": "SAME-ORIGIN"}, True),
    ({"sec-fetch-site": "cross-site", "origin": "https://canary.example.com"}, True),
    # A proxy has put its own name into Host: the browser knows better.
    ({"sec-fetch-site": "same-origin", "origin": "https://front.example.com"}, False),
    ({"origin": "https://canary.example.com"}, False),
    ({"origin": "http://canary.example.com"}, False),
    ({"origin": "https://canary.example.com:443"}, False),
    ({"origin": "https://CANARY.example.com"}, False),
    ({"origin": "https://canary.example.com:8443"}, True),
    ({"origin": "https://evil.example"}, True),
    ({"origin": "https://canary.example.com.evil.example"}, True),
    ({"origin": "https://canary.example.com@evil.example"}, True),
    ({"origin": "null"}, True),
    ({"origin": ""}, True),
    ({"origin": "https://[::1"}, True),
    ({"origin": "https://canary.example.com:http"}, True),
])  # fmt: skip
def test_a_browser_tells_where_a_request_comes_from(headers: dict[str, str], foreign: bool) -> None:
    assert is_foreign(Headers({**HOST, **headers})) is foreign


def test_ports_and_addresses_are_compared_whole() -> None:
    assert not is_foreign(Headers({"host": "127.0.0.1:8400", "origin": "http://127.0.0.1:8400"}))
    assert is_foreign(Headers({"host": "127.0.0.1:8400", "origin": "http://127.0.0.1:8401"}))
    assert not is_foreign(Headers({"host": "[::1]:8400", "origin": "http://[::1]:8400"}))
    assert is_foreign(Headers({"origin": "http://127.0.0.1:8401"}))
    assert is_foreign(Headers({"host": "", "origin": "http://"}))


def test_the_token_of_a_form_is_of_one_browser() -> None:
    assert fits(token_of("alice's"), "alice's")
    assert not fits(token_of("alice's"), "bob's")
    assert not fits("", "alice's")
    assert not fits("é\ud7ff", "alice's")
    assert "alice" not in token_of("alice's")
