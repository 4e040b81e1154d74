"""One table of scenarios, played by every interface; and broken variants, which must fail it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from canary_middleware import Rescue
from tests.scenarios import rows_answers, rows_overrides, rows_supersede, rows_visitors
from tests.scenarios.play import play, told_by
from tests.scenarios.site import Interface, Site
from tests.scenarios.words import Row

ROWS = [
    *rows_answers.ROWS, *rows_visitors.ROWS, *rows_overrides.ROWS, *rows_supersede.ROWS,
]  # fmt: skip
every_row = pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])


def named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def test_names_are_distinct() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@every_row
@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_scenario(row: Row, interface: Interface) -> None:
    play(row, interface)


@every_row
def test_interfaces_answer_alike(row: Row) -> None:
    first, *others = [play(row, interface) for interface in Interface]
    assert others == [first] * len(others)


@pytest.mark.parametrize(
    "row", rows_answers.UNEXPOSED, ids=[row.name for row in rows_answers.UNEXPOSED]
)
@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_unexposed_pages_are_identical_with_and_without_the_middleware(
    row: Row, interface: Interface
) -> None:
    (ask, _expect), *_ = row.talk
    with Site(interface, row.app, bare=True) as bare, Site(interface, row.app) as covered:
        assert told_by(covered.ask(ask)) == told_by(bare.ask(ask))


# --- broken variants: each is our middleware with one mistake, and the table must see it ----------


def with_headers(edit: Callable[[list[Any]], list[Any]]) -> Callable[[Any], Any]:
    """A variant that treats the head of every response."""

    def wrap(app: Any) -> Any:
        async def tampered(scope: Any, receive: Any, send: Any) -> None:
            async def sender(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": edit(list(message["headers"]))}
                await send(message)

            await app(scope, receive, sender)

        return tampered

    return wrap


def buffering(app: Any) -> Any:
    """A variant that collects the body."""

    async def tampered(scope: Any, receive: Any, send: Any) -> None:
        kept: list[Any] = []

        async def sender(message: Any) -> None:
            kept.append(message)

        await app(scope, receive, sender)
        for message in kept:
            await send(message)

    return tampered


def replace_vary(headers: list[Any]) -> list[Any]:
    return [*(line for line in headers if line[0] != b"vary"), (b"vary", b"Cookie")]


def double_vary(headers: list[Any]) -> list[Any]:
    return [*headers, (b"vary", b"Cookie")]


def always_a_cookie(headers: list[Any]) -> list[Any]:
    return [*headers, (b"set-cookie", b"__Host-canary-shop=again; Path=/; Secure")]


def drop_foreign_cookies(headers: list[Any]) -> list[Any]:
    return [line for line in headers if line[0] != b"set-cookie" or b"canary" in line[1]]


def hide_no_store(headers: list[Any]) -> list[Any]:
    return [(name, value.replace(b"no-store", b"no-cache")) for name, value in headers]


@pytest.mark.parametrize(
    ("row", "variant"),
    [
        ("chunk by chunk", buffering),
        ("Vary is appended", with_headers(replace_vary)),
        ("Vary is not doubled", with_headers(double_vary)),
        ("cookie: the second request gets none", with_headers(always_a_cookie)),
        ("public", with_headers(always_a_cookie)),
        ("304 agrees with the 200", with_headers(lambda headers: headers[:1])),
        ("scope: whole segments only", with_headers(double_vary)),
        ("first request: image", with_headers(always_a_cookie)),
        ("cookies of the application stay, in order", with_headers(drop_foreign_cookies)),
        ("rescue: a 500", with_headers(hide_no_store)),
    ],
)
def test_broken_header_or_body_handling_is_found(row: str, variant: Callable[[Any], Any]) -> None:
    with pytest.raises(AssertionError):
        play(named(row), Interface.ASGI, wrap=variant)


@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_a_middleware_that_supersedes_post_is_found(interface: Interface) -> None:
    row = rows_supersede.POST_DURING_A_KILL
    broken = Row(
        row.name,
        row.app,
        row.talk,
        row.counts,
        row.events,
        rollout={"rescue": Rescue(methods=("GET", "POST"))},
    )
    with pytest.raises(AssertionError):
        play(broken, interface)
