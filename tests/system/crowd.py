"""Crowds of visitors who behave like browsers, and the record of what they saw."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.clients import (
    CROSS_SITE_NAVIGATION,
    IMAGE,
    NAVIGATION,
    SAME_ORIGIN_NAVIGATION,
    SCRIPT,
    STYLE,
    AsyncVisitor,
    Pool,
    Response,
)
from tests.system.site import CANARY, STABLE

AT_ONCE = 24
"""Visitors who are under way at one time."""
PARTS = [f"/shop/part/{number}" for number in range(5)] + [f"/blog/{n}" for n in range(4)]


@dataclass
class Seen:
    """What a crowd saw.

    Attributes:
        versions: by visitor and application, those of all answers that were decided for them.
        requests: decided answers by application and version.
        processes: answers by process.
        broken: whatever must not happen, as text.
    """

    versions: dict[tuple[int, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    processes: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def decided(self, number: int, response: Response) -> None:
        """An answer to somebody with a cookie, or who may draw one."""
        body = self.body(response)
        self.versions[number, body["app"]].add(body["version"])
        self.requests[body["app"], body["version"]] += 1

    def drawn_nothing(self, response: Response) -> None:
        """An answer to a request that must not draw a visitor."""
        body = self.body(response)
        if response.all("Set-Cookie"):
            self.broken.append(f"{body['path']}: a cookie for a request that may not draw")
        if (body["version"], body["reason"]) != (STABLE, "no_visitor"):
            self.broken.append(f"{body['path']}: {body['version']} because of {body['reason']}")

    def body(self, response: Response) -> dict[str, Any]:
        if response.status != 200:
            self.broken.append(f"status {response.status}")
        body: dict[str, Any] = json.loads(response.body)
        self.processes[body["pid"]] += 1
        return body

    def share_of_visitors(self, app: str) -> float:
        own = [versions for (_, name), versions in self.versions.items() if name == app]
        return sum(versions == {CANARY} for versions in own) / len(own)

    def share_of_requests(self, app: str) -> float:
        return self.requests[app, CANARY] / sum(
            self.requests[app, version] for version in (CANARY, STABLE)
        )

    def two_versions(self) -> list[tuple[int, str]]:
        return [who for who, versions in self.versions.items() if len(versions) > 1]


async def first_visit(number: int, visitor: AsyncVisitor, seen: Seen) -> None:
    """A page with nine parts at once, a way back from a payment page, and later pages."""
    kinds = (IMAGE, SCRIPT, STYLE)
    parts = (
        visitor.request("GET", part, fetch=kinds[i % 3], with_cookies=False)
        for i, part in enumerate(PARTS)
    )
    page, *rest = await asyncio.gather(visitor.get("/shop/", NAVIGATION), *parts)
    seen.decided(number, page)
    for part in rest:
        seen.drawn_nothing(part)
    paid = await visitor.request(
        "POST", "/shop/paid", b"ok=1", fetch=CROSS_SITE_NAVIGATION, with_cookies=False
    )
    seen.drawn_nothing(paid)
    seen.decided(number, await visitor.get("/shop/later", SAME_ORIGIN_NAVIGATION))
    if number % 4 == 0:
        for path in ("/blog/", "/blog/later"):
            seen.decided(number, await visitor.get(path, SAME_ORIGIN_NAVIGATION))


Journey = Callable[[int, AsyncVisitor], Awaitable[None]]


async def walk(
    visitors: Mapping[int, AsyncVisitor] | Iterable[tuple[int, AsyncVisitor]], journey: Journey
) -> None:
    """All visitors make the journey, some at a time."""
    pairs = iter(visitors.items() if isinstance(visitors, Mapping) else visitors)

    async def one_after_another() -> None:
        for number, visitor in pairs:
            await journey(number, visitor)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another())


async def versions(
    port: int, visitors: Mapping[int, AsyncVisitor], path: str = "/shop/"
) -> dict[int, str]:
    """What each visitor gets from one address."""
    found: dict[int, str] = {}

    async def look(number: int, visitor: AsyncVisitor) -> None:
        visitor.pool = pool
        response = await visitor.get(path, SAME_ORIGIN_NAVIGATION)
        found[number] = json.loads(response.body)["version"]

    async with Pool(port, AT_ONCE) as pool:
        await walk(visitors, look)
    return found
