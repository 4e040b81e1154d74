"""Tokens in requests: taken out in both interfaces, bounded, and only the good ones given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from canary_middleware.core.cookie import CookieFormat, Secure
from canary_middleware.core.model import Cohort
from canary_middleware.core.override import KIND, WAYS, Override, cookie_names, mint
from canary_middleware.core.token import TokenCodec
from canary_middleware.engine.overrides import CACHE_SIZE, MOST, Given, Overrides
from canary_middleware.engine.recorder import Recorder
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.words import Ask
from tests.scenarios.wsgi_driver import http_environ

KEY = b"k" * 32
CODEC = TokenCodec([KEY], "shop", KIND)
NOW = 1_800_000_000
RELEASES = {"checkout": "2", "search": "2025.11"}
COOKIE = "__Host-canary-override-shop"


def token(rollout: str = "checkout", cohort: Cohort = Cohort.CANARY, **fields: Any) -> str:
    usual = {"issued": NOW, "until": NOW + 3600}
    return mint(CODEC, Override(rollout, cohort=cohort, **{"release": "2", **usual, **fields}))


class Reader:
    """Reads one request in both interfaces, which have to agree."""

    def __init__(self, *ways: str, secure: Secure = True) -> None:
        self.recorder = Recorder()
        self.now = NOW
        cookie = CookieFormat("shop", secure)
        self.overrides = Overrides(
            ways, [KEY], cookie, RELEASES, lambda: self.now, lambda: self.recorder
        )

    def __call__(self, target: str = "/", *headers: tuple[str, str]) -> Given | None:
        ask = Ask(target, headers=headers)
        scope, environ = http_scope(ask), {**http_environ(ask), "REQUEST_URI": target}
        before = {**scope, "headers": list(scope["headers"])}, {**environ}
        self.scope, given = self.overrides.of_scope(scope)
        self.environ, again = self.overrides.of_environ(environ)
        assert given == again
        assert (scope, environ) == before, "what the server gave is not changed"
        if given is None:
            assert self.scope is scope
            assert self.environ is environ
        assert self.scope["query_string"].decode() == self.environ["QUERY_STRING"]
        return given

    @property
    def events(self) -> dict[str, int]:
        """Of one request: both interfaces counted the same."""
        return {name: count // 2 for name, count in self.recorder.events.items()}

    def headers(self, name: str) -> list[str]:
        values = [value for key, value in self.scope["headers"] if key == name.encode()]
        joined = (b"; " if name == "cookie" else b", ").join(values).decode("latin-1")
        environ = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        assert environ == (joined if values else None)
        return [value.decode("latin-1") for value in values]


def cohorts(given: Given | None) -> dict[str, Cohort]:
    assert given is not None
    return {name: override.cohort for name, override in given.overrides.items()}


def test_nothing_is_touched_where_nothing_is() -> None:
    read = Reader(*WAYS)
    assert read("/a?b=%20&c", ("cookie", "a=1;  b"), ("x-canary", "always")) is None
    assert read.events == {}


@pytest.mark.parametrize("off", WAYS)
def test_a_way_that_is_off_is_not_touched(off: str) -> None:
    read = Reader(*(way for way in WAYS if way != off))
    carried: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
        "header": ("/", (("x-canary-override", token()),)),
        "cookie": ("/", (("cookie", f"{COOKIE}={token()}"),)),
        "query": (f"/?canary-override={token()}", ()),
    }
    target, headers = carried[off]
    assert read(target, *headers) is None


def test_the_header_alone_or_several_times() -> None:
    read = Reader("header")
    assert cohorts(read("/", ("x-canary-override", token()))) == {"checkout": Cohort.CANARY}
    assert read.headers("x-canary-override") == []
    both = [token(cohort=Cohort.STABLE), token("search", release="2025.11")]
    expected = {"checkout": Cohort.STABLE, "search": Cohort.CANARY}
    assert cohorts(read("/", *(("x-canary-override", one) for one in both))) == expected
    assert cohorts(read("/", ("x-canary-override", ", ".join(both)))) == expected
    assert read.events == {}


def test_the_cookie_between_others() -> None:
    read = Reader("cookie")
    assert cohorts(read("/", ("cookie", f"a=1; {COOKIE}={token()};  b=\xfc"))) == {
        "checkout": Cohort.CANARY
    }
    assert read.headers("cookie") == ["a=1;  b=\xfc"]
    read("/", ("cookie", f"{COOKIE}={token()}"))
    assert read.headers("cookie") == []
    read("/", ("cookie", "a=1"), ("cookie", f"{COOKIE}={token()}"))
    assert read.headers("cookie") == ["a=1"]


def test_the_query_between_others() -> None:
    read = Reader("query")
    given = read(f"/a?b=%20&canary%2Doverride={token()}&c")
    assert cohorts(given) == {"checkout": Cohort.CANARY}
    assert given is not None
    assert given.line is None
    assert read.environ["QUERY_STRING"] == "b=%20&c"
    assert read.environ["REQUEST_URI"] == "/a?b=%20&c"


def test_the_header_wins_over_the_query_and_that_over_the_cookie() -> None:
    read = Reader(*WAYS)
    stable = token(cohort=Cohort.STABLE)
    held = ("cookie", f"{COOKIE}={stable}")
    assert cohorts(read(f"/?canary-override={token()}", held)) == {"checkout": Cohort.CANARY}
    assert cohorts(read(f"/?canary-override={token()}", ("x-canary-override", stable))) == {
        "checkout": Cohort.STABLE
    }


@pytest.mark.parametrize(
    ("bad", "event"),
    [
        ("canary", "malformed"),
        ("always.canary", "forged"),
        ("a" * 513, "oversized"),
        ("\xfc", "malformed"),
        (token(until=NOW, issued=NOW - 1), "expired"),
        (token(issued=NOW + 61), "future"),
        (token("other"), "unknown_rollout"),
        (token(release="3"), "other_release"),
        (token()[:-1] + "A", "forged"),
    ],
)
def test_refused_tokens_go_and_are_counted(bad: str, event: str) -> None:
    read = Reader(*WAYS)
    given = read("/", ("x-canary-override", bad))
    assert given is not None
    assert given.overrides == {}
    assert read.headers("x-canary-override") == []
    assert read.events == {f"override_{event}": 1}


def test_there_twice_is_as_good_as_none() -> None:
    read = Reader("cookie", "query")
    twice = f"canary-override={token()}"
    given = read(f"/?{twice}&{twice}", ("cookie", f"{COOKIE}={token()}; {COOKIE}={token()}"))
    assert given is not None
    assert (given.overrides, given.line) == ({}, None)
    assert read.environ["QUERY_STRING"] == ""
    assert read.headers("cookie") == []
    assert read.events == {"override_duplicated": 2}


def test_so_many_tokens_are_looked_at_and_no_more() -> None:
    read = Reader(*WAYS)
    given = read("/", ("x-canary-override", ",".join(["x.y"] * MOST + [token()])))
    assert given is not None
    assert given.overrides == {}
    assert read.events == {"override_forged": MOST, "override_surplus": 1}


def flags(given: Given | None) -> tuple[str, str, Sequence[str]]:
    assert given is not None
    assert given.line is not None
    pair, *attributes = given.line.split("; ")
    name, _, value = pair.partition("=")
    return name, value, attributes


def test_the_query_is_kept_in_the_cookie_for_the_rest_of_its_life() -> None:
    read = Reader("cookie", "query")
    read.now = NOW + 600
    one = token()
    name, value, attributes = flags(read(f"/?canary-override={one}"))
    assert (name, value) == (COOKIE, one)
    assert attributes == ["Max-Age=3000", "Path=/", "HttpOnly", "SameSite=Lax", "Secure"]
    kept = read("/", ("cookie", f"{name}={value}"))
    assert kept is not None
    assert cohorts(kept) == {"checkout": Cohort.CANARY}
    assert kept.line is None
    again = read(f"/?canary-override={one}", ("cookie", f"{name}={value}"))
    assert again is not None
    assert again.line is None, "it is there already"


def test_the_cookie_keeps_the_tokens_of_other_rollouts() -> None:
    read = Reader("cookie", "query")
    held, new = token("search", release="2025.11", until=NOW + 7200), token()
    name, value, attributes = flags(
        read(f"/?canary-override={new}", ("cookie", f"{COOKIE}={held}"))
    )
    assert (value, attributes[0]) == (f"{held}:{new}", "Max-Age=7200")
    assert cohorts(read("/", ("cookie", f"{name}={value}"))).keys() == {"checkout", "search"}
    assert flags(read(f"/?canary-override={new}", ("cookie", f"{COOKIE}=forged.x")))[1] == new


def test_the_names_follow_the_visitor_cookie() -> None:
    plain = "canary-override-shop"
    assert cookie_names(CookieFormat("shop", secure=False)) == (plain,)
    assert cookie_names(CookieFormat("shop", secure="auto")) == (COOKIE, plain)
    read = Reader("cookie", "query", secure=False)
    name, _, attributes = flags(read(f"/?canary-override={token()}"))
    assert name == plain
    assert "Secure" not in attributes
    given = Reader("cookie", secure="auto")("/", ("cookie", f"{plain}={token()}"))
    assert cohorts(given) == {"checkout": Cohort.CANARY}


def test_only_a_debug_token_may_ask_for_an_explanation() -> None:
    read = Reader("header")
    for debug in (False, True):
        given = read("/", ("x-canary-explain", "1"), ("x-canary-override", token(debug=debug)))
        assert given is not None
        assert given.explain is debug
        assert read.headers("x-canary-explain") == []
    nothing = read("/", ("x-canary-explain", "1"))
    assert nothing is not None
    assert not nothing.explain


def test_a_token_ends_although_it_is_remembered() -> None:
    read = Reader("header")
    good = token()
    assert cohorts(read("/", ("x-canary-override", good)))
    read.now = NOW + 3600
    assert cohorts(read("/", ("x-canary-override", good))) == {}
    assert read.events == {"override_expired": 1}


def test_only_good_tokens_are_remembered_and_never_more_than_so_many() -> None:
    read = Reader("header")
    for number in range(50):
        read("/", ("x-canary-override", f"{token()[:-1]}{number}"))
    assert read.overrides.remembered == 0
    for number in range(CACHE_SIZE + 50):
        read("/", ("x-canary-override", token(until=NOW + 1 + number)))
    assert read.overrides.remembered == CACHE_SIZE
