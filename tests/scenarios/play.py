"""Plays one scenario in one interface and compares what arrived with what must arrive."""

from __future__ import annotations

from typing import Any

from tests.scenarios.site import NAME, Interface, Site
from tests.scenarios.words import Expect, Reply, Row

OURS = NAME + "="


def play(row: Row, interface: Interface, **how: Any) -> list[object]:
    """All of a row; the result says everything that an interface could do differently.

    Raises:
        AssertionError: something is not as the row says.
    """
    with Site(
        interface,
        row.app,
        weight=row.weight,
        rollout=row.rollout,
        canary=row.canary,
        target=row.target,
        more=row.more,
        **how,
    ) as site:
        told: list[object] = []
        for ask, expect in row.talk:
            site.log.clear()
            reply = site.ask(ask)
            check(reply, expect, site)
            told.append(told_by(reply))
        assert site.counts() == row.counts
        assert site.events() == row.events
        return told


def check(reply: Reply, expect: Expect, site: Site) -> None:
    seen = type(reply.error) if reply.error else None
    assert seen is expect.raises, repr(reply.error)
    assert reply.status == expect.status
    assert reply.body == expect.body
    for name, wanted in expect.headers.items():
        values = [value for value in reply.all(name) if not value.startswith(OURS)]
        lines = [] if wanted is None else [wanted] if isinstance(wanted, str) else wanted
        assert values == lines, f"{name}: {values}"
    issued = [line for line in reply.all("set-cookie") if line.startswith(OURS)]
    if expect.issued is not None:
        assert len(issued) == int(expect.issued), f"our cookies: {issued}"
    if expect.arrivals is not None:
        assert site.log == expect.arrivals


def told_by(reply: Reply) -> tuple[object, ...]:
    """A reply without what is random in it: the value of a new cookie."""
    headers = [
        (name, OURS + value.partition(";")[2] if value.startswith(OURS) else value)
        for name, value in reply.headers
    ]
    return reply.status, headers, reply.chunks, type(reply.error)
