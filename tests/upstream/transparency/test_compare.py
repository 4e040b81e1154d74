"""The comparison: every kind of difference is found, and only a rule that fits allows it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.upstream.transparency import rules
from tests.upstream.transparency.compare import Change, Difference, Rule, Rules, Side, compare
from tests.upstream.transparency.wire import Header, Message

REQUEST = Message(
    b"GET /a%2Fb HTTP/1.1",
    ((b"Host", b"x"), (b"X-One", b"1"), (b"X-Two", b"2"), (b"X-One", b"3")),
    b"body",
    ((b"X-Sum", b"1"),),
    "chunked",
    (),
    complete=True,
)


def differences(
    seen: Message, allowed: Rules = (), *, direct: Message = REQUEST, side: Side = Side.REQUEST
) -> list[Difference]:
    return compare(side, [direct], [seen], allowed)


def with_headers(*headers: Header) -> Message:
    return replace(REQUEST, headers=headers)


def test_equal_messages_do_not_differ() -> None:
    assert differences(REQUEST) == []


@pytest.mark.parametrize(
    ("seen", "part", "change"),
    [
        (replace(REQUEST, line=b"get /a%2Fb HTTP/1.1"), "method", Change.REPLACED),
        (replace(REQUEST, line=b"GET /a%2fb HTTP/1.1"), "target", Change.REPLACED),
        (replace(REQUEST, line=b"GET /a%2Fb HTTP/1.0"), "version", Change.REPLACED),
        (replace(REQUEST, body=b""), "body", Change.DROPPED),
        (replace(REQUEST, trailers=()), "trailers", Change.DROPPED),
        (replace(REQUEST, framing="length"), "framing", Change.REPLACED),
        (replace(REQUEST, complete=False), "completeness", Change.REPLACED),
        (replace(REQUEST, flaws=("NUL",)), "form", Change.REPLACED),
        (with_headers(*REQUEST.headers[1:]), "header", Change.DROPPED),
        (with_headers(*REQUEST.headers, (b"Via", b"1.1 x")), "header", Change.ADDED),
        (with_headers((b"Host", b"y"), *REQUEST.headers[1:]), "header", Change.REPLACED),
        (with_headers((b"host", b"x"), *REQUEST.headers[1:]), "header", Change.SPELLED),
        (with_headers((b"Host", b"x"), (b"X-One", b"1, 3"), (b"X-Two", b"2")),
         "header", Change.JOINED),
        (with_headers((b"Host", b"x"), (b"X-Two", b"2"), (b"X-One", b"1"), (b"X-One", b"3")),
         "order", Change.MOVED),
        (with_headers((b"Host", b"x"), (b"X-One", b"3"), (b"X-Two", b"2"), (b"X-One", b"1")),
         "header", Change.REPLACED),
    ],
)  # fmt: skip
def test_each_kind_of_difference_is_found(seen: Message, part: str, change: Change) -> None:
    found = differences(seen)
    assert [(one.part, one.change, one.why) for one in found] == [(part, change, None)]


@pytest.mark.parametrize(
    ("name", "joined", "change"),
    [
        (b"X-One", b"a,b", Change.JOINED),
        (b"Cookie", b"a; b", Change.JOINED),
        (b"Cookie", b"a,b", Change.REPLACED),
        (b"Set-Cookie", b"a,b", Change.REPLACED),
        (b"Set-Cookie", b"a; b", Change.REPLACED),
    ],
)
def test_lines_are_joined_only_where_it_means_the_same(
    name: bytes, joined: bytes, change: Change
) -> None:
    direct, seen = with_headers((name, b"a"), (name, b"b")), with_headers((name, joined))
    assert [one.change for one in differences(seen, direct=direct)] == [change]


def test_the_parts_of_a_status_line_differ_one_by_one() -> None:
    direct = replace(REQUEST, line=b"HTTP/1.1 404 Not Found")
    for line, part in {
        b"HTTP/1.0 404 Not Found": "version",
        b"HTTP/1.1 403 Not Found": "status",
        b"HTTP/1.1 404 ": "reason",
    }.items():
        found = differences(replace(REQUEST, line=line), direct=direct, side=Side.ANSWER)
        assert [one.part for one in found] == [part]


def test_a_message_too_many_is_one_difference() -> None:
    found = compare(Side.REQUEST, [REQUEST], [REQUEST, REQUEST], ())
    assert [one.part for one in found] == ["number of messages"]


def test_a_rule_allows_only_what_it_says() -> None:
    allowed = (
        Rule(Side.REQUEST, "header", (Change.REPLACED,), "why", frozenset({b"host"}),
             seen=re.compile(rb"y")),
    )  # fmt: skip
    rest = REQUEST.headers[1:]
    for headers, why in (
        (((b"Host", b"y"), *rest), "why"),
        (((b"Host", b"z"), *rest), None),
        (rest, None),
    ):
        assert [one.why for one in differences(with_headers(*headers), allowed)] == [why]
    answer = differences(with_headers((b"Host", b"y"), *rest), allowed, side=Side.ANSWER)
    assert [one.why for one in answer if one.part == "header"] == [None]


def test_what_connection_names_has_to_go() -> None:
    direct = with_headers((b"Connection", b"close, X-One, Host, Cookie"), *REQUEST.headers)
    kept = differences(direct, rules.COMMON, direct=direct)
    assert [(one.name, one.change, one.why) for one in kept] == [(b"x-one", Change.KEPT, None)]
    gone = with_headers((b"Host", b"x"), (b"X-Two", b"2"))
    assert all(one.why for one in differences(gone, rules.COMMON, direct=direct))


@pytest.mark.parametrize("name", [b"Host", b"Cookie", b"Content-Length", b"Authorization"])
def test_connection_cannot_take_away_what_counts(name: bytes) -> None:
    direct = with_headers((b"Connection", name), (name, b"1"))
    found = differences(with_headers(), rules.COMMON, direct=direct)
    assert [one.name for one in found if one.why is None] == [name.lower()]


@pytest.mark.parametrize(
    "name", [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"Forwarded"]
)
def test_what_a_client_says_of_itself_must_not_arrive(name: bytes) -> None:
    for direct, seen in ((b"6.6.6.6", b"6.6.6.6"), (b"6.6.6.6", b"6.6.6.6, 127.0.0.1")):
        found = differences(
            with_headers((name, seen)), rules.COMMON, direct=with_headers((name, direct))
        )
        assert [one.why for one in found] == [None]


def test_the_absolute_form_may_become_a_path_and_nothing_else() -> None:
    direct = replace(REQUEST, line=b"GET http://x:80/a?b HTTP/1.1")
    for target, allowed in ((b"/a?b", True), (b"/a", False), (b"/", False)):
        seen = replace(REQUEST, line=b"GET %s HTTP/1.1" % target)
        found = differences(seen, rules.COMMON, direct=direct)
        assert [one.why is not None for one in found] == [allowed]
