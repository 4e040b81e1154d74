from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.engine.views import AsgiView, WsgiView, named_cookie

Headers = Sequence[tuple[str, str]]


def asgi(headers: Headers = (), **changes: Any) -> AsgiView:
    lines = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": lines}
    return AsgiView(scope | changes)


def wsgi(headers: Headers = (), **changes: Any) -> WsgiView:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    for key, value in headers:
        name = "HTTP_" + key.upper().replace("-", "_")
        joint = "; " if key.lower() == "cookie" else ", "
        environ[name] = environ[name] + joint + value if name in environ else value
    return WsgiView(environ | changes)


BOTH = pytest.mark.parametrize("make", [asgi, wsgi])


def test_the_peer_is_whom_the_server_names() -> None:
    assert asgi(client=("10.1.2.3", 4711)).peer == "10.1.2.3"
    assert asgi(client=None).peer is asgi().peer is None  # a Unix socket
    assert wsgi(REMOTE_ADDR="10.1.2.3").peer == "10.1.2.3"
    assert not wsgi(REMOTE_ADDR="").peer
    assert not wsgi([("Remote-Addr", "10.1.2.3")]).peer


@BOTH
def test_headers(make: Any) -> None:
    view = make([("X-User", "alice"), ("X-Many", "1"), ("x-many", "2"), ("X-Raw", "\xe9")])
    assert view.header("x-user") == "alice"
    assert view.header("X-USER") == "alice"
    assert view.header("X-Many") == "1, 2"
    assert view.header("X-Raw") == "\xe9"
    assert view.header("X-None") is None
    assert view.inputs == ("x-user", "X-USER", "X-Many", "X-Raw", "X-None")


def test_wsgi_keeps_two_headers_under_other_names() -> None:
    view = wsgi(CONTENT_TYPE="text/plain", CONTENT_LENGTH="5")
    assert view.header("Content-Type") == "text/plain"
    assert view.header("content-length") == "5"


@BOTH
@pytest.mark.parametrize(
    "name", ["", "X\r\nSet-Cookie: a=b", "X Y", "X:", "X,Y", "\u00e9", "\u540d"]
)
def test_a_name_that_no_header_can_have_is_refused_before_it_reaches_vary(
    make: Any, name: str
) -> None:
    view = make()
    with pytest.raises(ValueError, match="not a header name"):
        view.header(name)
    assert view.inputs == ()


@BOTH
def test_reading_for_ourselves_is_no_input(make: Any) -> None:
    view = make([("Cookie", "a=1")])
    assert view.cookie("a") == "1"
    assert view.cookie_header() == b"a=1"
    assert view.inputs == (), "Cookie is in every Vary already"


@BOTH
def test_fetch_metadata_is_an_input_even_where_it_is_absent(make: Any) -> None:
    names = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")
    view = make([("Sec-Fetch-Mode", "cors")])
    assert view.fetch_metadata() == (None, "cors", None)
    assert view.inputs == names


@BOTH
@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        ([], b""),
        ([("Cookie", "")], b""),
        ([("Cookie", "a=1; b=2")], b"a=1; b=2"),
        ([("Cookie", "a=1"), ("Cookie", "b=2"), ("X", "y"), ("Cookie", "c=3")], b"a=1; b=2; c=3"),
        ([("Cookie", "a=\xe9")], b"a=\xe9"),
    ],
)
def test_cookie_headers_are_one(make: Any, headers: Headers, raw: bytes) -> None:
    """HTTP/2 and HTTP/3 may split them."""
    assert make(headers).cookie_header() == raw


def test_a_wsgi_server_that_hands_over_text_does_no_harm() -> None:
    assert wsgi([("Cookie", "a=\u540d")]).cookie_header() == b"a=?"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"", None), (b"a=1", "1"), (b"x=0; a=1; a=2", "1"), (b"a = 1 ", "1"), (b"a", ""),
        (b"aa=1", None),
        (b"b=a=1", None), (b"a==", "="), (b'a="1;2"', '"1'), (b"a=\xe9", "\xe9"), (b";;a=1", "1"),
    ],
)  # fmt: skip
def test_a_cookie_by_name(header: bytes, value: str | None) -> None:
    assert named_cookie(header, "a") == value


@BOTH
@pytest.mark.parametrize("name", ["\u540d", "", "a;b"])
def test_odd_cookie_names_are_absent(make: Any, name: str) -> None:
    assert make([("Cookie", "a=1")]).cookie(name) is None


@pytest.mark.parametrize(
    ("path", "root", "seen"),
    [
        ("/checkout", "", "/checkout"),
        ("/api/checkout", "/api", "/checkout"),
        ("/api", "/api", "/"),
        ("/api/", "/api", "/"),
        ("/apix/checkout", "/api", "/apix/checkout"),
        ("/checkout", "/api", "/checkout"),
        ("/api/api/x", "/api", "/api/x"),
        ("", "", ""),
    ],
)
def test_asgi_paths_are_below_the_root(path: str, root: str, seen: str) -> None:
    assert asgi(path=path, root_path=root).path == seen


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_both_interfaces_see_the_same_path(text: str) -> None:
    """A server decodes once: ASGI gets text, WSGI the bytes as latin-1 (PEP 3333)."""
    path = "/" + text
    assert wsgi(PATH_INFO=path.encode().decode("latin-1")).path == asgi(path=path).path == path


@pytest.mark.parametrize("raw", ["/%ff", "/caf%C3%A9", "/a%2Fb", "/%252F", "/\u0130"])
def test_odd_paths_raise_nothing(raw: str) -> None:
    data = unquote_to_bytes(raw)
    assert wsgi(PATH_INFO=data.decode("latin-1")).path == data.decode("utf-8", "replace")


def test_an_empty_wsgi_path_is_the_root() -> None:
    assert wsgi(PATH_INFO="").path == "/"


def test_scheme_and_method() -> None:
    assert (asgi(method="PUT").method, asgi(scheme="https").scheme) == ("PUT", "https")
    assert (wsgi(REQUEST_METHOD="PUT").method, wsgi().scheme) == ("PUT", "http")
    websocket = AsgiView({"type": "websocket", "path": "/", "headers": []})
    assert (websocket.method, websocket.scheme) == ("GET", "http")


def test_inputs_of_one_request_are_not_those_of_another() -> None:
    one, two = asgi(), asgi()
    one.header("X")
    assert two.inputs == ()
