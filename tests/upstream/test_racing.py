"""Races of addresses: only between the addresses of a name, and only where a loop knows them."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import cast

from canary_middleware.upstream.link import Link
from canary_middleware.upstream.racing import race

STRANGER = cast("asyncio.AbstractEventLoop", object())
"""As uvloop's loops, which descend from nothing that asyncio runs."""


def test_only_addresses_of_names_race() -> None:
    with closing(asyncio.new_event_loop()) as loop:
        assert race(loop, "shop.example") == {"happy_eyeballs_delay": 0.25}
        for address in ("127.0.0.1", "::1"):
            assert race(loop, address) == {}


def test_a_loop_that_knows_no_races_is_asked_for_none() -> None:
    assert race(STRANGER, "shop.example") == {}


def test_a_transport_needs_no_ancestors() -> None:
    class Transport:
        def write(self, data: bytes) -> None:
            written.append(data)

    written: list[bytes] = []
    link = Link(STRANGER, memoryview(bytearray(9)), lambda _: None)
    link.connection_made(Transport())  # type: ignore[arg-type]  # what uvloop gives
    link.write(b"GET")
    assert link.alive
    assert written == [b"GET"]
