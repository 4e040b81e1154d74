"""What is read from an environ, beside the environs that servers really make."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.upstream.environ import (
    asks_for_websocket,
    client,
    client_socket,
    headers,
    target,
)


def environ(path: str, query: str = "", mount: str = "", **more: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": mount, "PATH_INFO": path, "QUERY_STRING": query,
        **more,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        ("/a%2Fb//c/?x=%20&&y", "/a/b//c/", "x=%20&&y"),
        ("/%C3%A9", "/\xc3\xa9", ""),
        ("/a;b=1,2:@!$'()*", "/a;b=1,2:@!$'()*", ""),
        ("/%", "/%", ""),
        ("/", "/", ""),
        ("/?", "/", ""),
    ],
)
def test_the_raw_target_is_passed_on_byte_by_byte(
    name: str, raw: str, path: str, query: str
) -> None:
    assert target(environ(path, query, **{name: raw})) == raw.encode("latin-1")


@pytest.mark.parametrize(
    ("raw", "path", "expected"),
    [
        ("http://other.example/a?b", "/a", b"/a?b"),
        ("http://other.example:80?b", "/", b"/?b"),
        ("HTTPS://me@other.example/a?b", "/a", b"/a?b"),
    ],
)
def test_of_an_absolute_target_the_path_counts(raw: str, path: str, expected: bytes) -> None:
    assert target(environ(path, "b", RAW_URI=raw)) == expected


def test_a_mounted_application_passes_on_the_whole_path() -> None:
    assert target(environ("/b%20c", mount="/a", RAW_URI="/a/b%2520c")) == b"/a/b%2520c"
    assert target(environ("/b c", mount="/a")) == b"/a/b%20c"


def test_a_prefix_that_a_proxy_took_away_stays_away() -> None:
    assert target(environ("/b%20c", mount="/a", RAW_URI="/b%2520c")) == b"/b%2520c"


@pytest.mark.parametrize("raw", ["/other", "/a?c", "/a%00", "/\u20ac"])
def test_what_decided_where_a_request_goes_is_what_is_passed_on(raw: str) -> None:
    assert target(environ("/a", "b", RAW_URI=raw)) == b"/a?b"


def test_without_a_raw_target_a_path_is_quoted_again() -> None:
    assert target(environ("/a b/\xc3\xa9?#%", "x=%20")) == b"/a%20b/%C3%A9%3F%23%25?x=%20"
    assert target(environ("")) == b"/"


def test_a_question_about_the_server_itself_has_no_path() -> None:
    assert target(environ("*", REQUEST_METHOD="OPTIONS", RAW_URI="*")) == b"*"
    assert target(environ("*", REQUEST_METHOD="OPTIONS")) == b"*"


@given(st.binary(max_size=30))
def test_any_path_arrives_as_the_bytes_it_was(path: bytes) -> None:
    asked = target(environ("/" + path.decode("latin-1")))
    assert unquote_to_bytes(asked) == b"/" + path
    assert asked.isascii()
    assert not set(asked) & set(b" \r\n\0?#")


def test_headers_are_what_an_environ_still_tells() -> None:
    found = headers(
        environ(
            "/", HTTP_X_FORWARDED_FOR="::1", HTTP_COOKIE="a=\xe9", CONTENT_TYPE="text/plain",
            CONTENT_LENGTH="3", HTTP_CONTENT_LENGTH="4", HTTP_CONTENT_TYPE="text/html",
            HTTP_PROXY="http://me:secret@proxy", HTTP_EXPECT="100-continue", SERVER_NAME="x",
        )
    )  # fmt: skip
    assert found == [
        (b"X-Forwarded-For", b"::1"),
        (b"Cookie", b"a=\xe9"),
        (b"Content-Type", b"text/plain"),
        (b"Content-Length", b"3"),
    ]


def test_empty_headers_of_the_body_are_none() -> None:
    assert headers(environ("/", CONTENT_TYPE="", CONTENT_LENGTH="")) == []


def test_a_client_behind_a_unix_socket_has_no_address() -> None:
    assert client({"wsgi.url_scheme": "https"}) == ("", "https")
    assert client({"wsgi.url_scheme": "http", "REMOTE_ADDR": "::1"}) == ("::1", "http")


@pytest.mark.parametrize(
    ("upgrade", "connection", "asks"),
    [
        ("websocket", "Upgrade", True),
        ("WebSocket", "keep-alive, upgrade", True),
        ("websocket", "keep-alive", False),
        ("h2c", "Upgrade", False),
    ],
)
def test_the_handshake_of_a_websocket(upgrade: str, connection: str, asks: bool) -> None:
    found = asks_for_websocket(environ("/", HTTP_UPGRADE=upgrade, HTTP_CONNECTION=connection))
    assert found is asks
    assert not asks_for_websocket(environ("/"))


@pytest.mark.parametrize("name", ["gunicorn.socket", "werkzeug.socket"])
def test_a_server_may_tell_which_socket_is_the_clients(name: str) -> None:
    with socket.socket() as sock:
        assert client_socket({name: sock}) == sock.fileno()
    assert client_socket({name: sock}) is None, "closed"


def test_a_socket_of_an_event_loop_is_left_to_it() -> None:
    class OfTheirOwn(socket.socket):
        pass

    with OfTheirOwn() as sock:
        assert client_socket({"gunicorn.socket": sock}) is None
    assert client_socket({}) is None
