"""Versioned handlers: every kind of function, and pairs that are refused at import."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from canary_middleware import Canary, versioned
from canary_middleware.core.active import active_visit
from canary_middleware.engine.views import AsgiView
from canary_middleware.engine.visit import Visit
from tests.scenarios.asgi_driver import http_scope
from tests.scenarios.facade import facade
from tests.scenarios.words import Ask


def visiting(canary: Canary) -> Any:
    """Enter a request of this site; returns what leaves it."""
    match = canary.engine.snapshot.match("/checkout", "GET")
    assert match is not None
    return active_visit.set(Visit(canary.engine, match, AsgiView(http_scope(Ask()))))


def on(weight: str, call: Callable[[], Any]) -> Any:
    token = visiting(facade(weight))
    try:
        return call()
    finally:
        active_visit.reset(token)


def plain_v2(item: str, count: int = 1) -> str:
    return f"2 {item} {count}"


@versioned("checkout", canary=plain_v2)
def plain(item: str, count: int = 1) -> str:
    """Order something."""
    return f"1 {item} {count}"


async def coroutine_v2(item: str) -> str:
    return f"2 {item}"


@versioned("checkout", canary=coroutine_v2)
async def coroutine(item: str) -> str:
    await asyncio.sleep(0)
    return f"1 {item}"


def generator_v2(item: str) -> Iterator[str]:
    yield "2"
    yield item


@versioned("checkout", canary=generator_v2)
def generator(item: str) -> Iterator[str]:
    yield "1"
    yield item


async def async_generator_v2(item: str) -> AsyncIterator[str]:
    yield "2"
    yield item


@versioned("checkout", canary=async_generator_v2)
async def async_generator(item: str) -> AsyncIterator[str]:
    yield "1"
    yield item


async def collect(items: AsyncIterator[str]) -> list[str]:
    return [item async for item in items]


@pytest.mark.parametrize(("weight", "version"), [("0%", "1"), ("100%", "2")])
def test_every_kind_of_handler_is_chosen_by_the_visitor(weight: str, version: str) -> None:
    assert on(weight, lambda: plain("tea", count=2)) == f"{version} tea 2"
    assert on(weight, lambda: asyncio.run(coroutine("tea"))) == f"{version} tea"
    assert on(weight, lambda: list(generator("tea"))) == [version, "tea"]
    assert on(weight, lambda: asyncio.run(collect(async_generator("tea")))) == [version, "tea"]


def test_outside_of_a_request_stable_serves() -> None:
    assert plain("tea") == "1 tea 1"
    assert list(generator("tea")) == ["1", "tea"]


def test_frameworks_see_the_handler_as_it_was() -> None:
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Order something."
    assert list(inspect.signature(plain).parameters) == ["item", "count"]
    assert inspect.iscoroutinefunction(coroutine)
    assert not inspect.iscoroutinefunction(plain)


def test_a_generator_is_chosen_at_the_call_and_not_at_its_first_item() -> None:
    """A streaming response starts before its first item: an exposure there would come too late."""
    items = on("100%", lambda: generator("tea"))
    assert list(items) == ["2", "tea"]


def other_name(thing: str, count: int = 1) -> str:
    return thing


def other_default(item: str, count: int = 2) -> str:
    return item


def other_type(item: bytes, count: int = 1) -> str:
    return ""


def keyword_only(item: str, *, count: int = 1) -> str:
    return item


def one_more(item: str, count: int = 1, coupon: str = "") -> str:
    return item


@pytest.mark.parametrize("canary", [other_name, other_default, other_type, keyword_only, one_more])
def test_unequal_parameters_are_refused_at_import(canary: Any) -> None:
    def stable(item: str, count: int = 1) -> str:
        return item

    with pytest.raises(TypeError) as caught:
        versioned("checkout", canary=canary)(stable)
    text = str(caught.value)
    assert "checkout" in text
    assert canary.__name__ in text
    assert str(inspect.signature(canary)) in text
    assert "canary_route('checkout')" in text


KINDS: dict[str, Any] = {
    "a plain function": plain_v2,
    "a coroutine function": coroutine_v2,
    "a generator": generator_v2,
    "an asynchronous generator": async_generator_v2,
}
PAIRS = [(one, other) for one in KINDS for other in KINDS if one != other]


@pytest.mark.parametrize(("stable", "canary"), PAIRS)
def test_unequal_kinds_are_refused_at_import(stable: str, canary: str) -> None:
    with pytest.raises(TypeError) as caught:
        versioned("checkout", canary=KINDS[canary])(KINDS[stable])
    text = str(caught.value)
    assert stable in text
    assert canary in text


def test_another_result_type_is_the_handlers_own_business() -> None:
    def stable(item: str) -> str:
        return item

    def canary(item: str) -> dict[str, str]:
        return {"item": item}

    decorate: Any = versioned("checkout", canary=canary)
    assert on("100%", lambda: decorate(stable)("tea")) == {"item": "tea"}
