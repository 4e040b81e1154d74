"""Runs the table: once directly, once through a proxy, many cases side by side."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.upstream.transparency.case import Case, path, request
from tests.upstream.transparency.client import visit
from tests.upstream.transparency.compare import Rules
from tests.upstream.transparency.expect import Outcome, Same, Verdict
from tests.upstream.transparency.origin import Origin
from tests.upstream.transparency.proxies import PROXIES, started
from tests.upstream.transparency.steps import PATIENCE, Recording

AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Report:
    """The verdicts on all cases for one proxy."""

    proxy: str
    cases: tuple[Case, ...]
    verdicts: dict[str, Verdict]
    outcomes: Mapping[str, Outcome]
    strangers: tuple[bytes, ...] = ()

    @property
    def failing(self) -> set[str]:
        return {name for name, verdict in self.verdicts.items() if not verdict.holds}

    @property
    def score(self) -> int:
        return len(self.verdicts) - len(self.failing)

    @property
    def reasons(self) -> Counter[str]:
        """In how many cases each rule was needed."""
        needed = (
            {one.why for one in verdict.allowed if one.why} for verdict in self.verdicts.values()
        )
        return Counter(why for whys in needed for why in whys)


def measure(proxy: str, cases: Sequence[Case]) -> Report:
    """Run all cases through the proxy of that name, and directly what is compared with that."""
    chosen = PROXIES[proxy]
    return asyncio.run(judge(cases, chosen.rules, partial(started, chosen), proxy))


async def judge(
    cases: Sequence[Case],
    rules: Rules,
    proxy: Callable[[int], AbstractAsyncContextManager[int]],
    name: str = "",
) -> Report:
    """Run all cases through whatever ``proxy`` opens before the origin of a port."""
    table = {case.name: case for case in cases}
    compared = [case for case in cases if isinstance(case.expect, Same)]
    async with Origin(table) as there, Origin(table) as here, asyncio.TaskGroup() as group:
        directly = group.create_task(run(compared, there, there.port))  # while the proxy starts
        async with proxy(here.port) as port:
            direct, seen = await directly, await run(cases, here, port)
    verdicts = {case.name: _verdict(case, direct, seen, rules) for case in cases}
    return Report(name, tuple(cases), verdicts, seen, tuple(here.strangers))


def _verdict(
    case: Case, direct: Mapping[str, Outcome], seen: Mapping[str, Outcome], rules: Rules
) -> Verdict:
    if isinstance(case.expect, Same):
        return case.expect.compare(direct[case.name], seen[case.name], rules)
    return case.expect.judge(seen[case.name])


async def run(cases: Sequence[Case], origin: Origin, port: int) -> dict[str, Outcome]:
    """The outcomes by name; cases that must be alone come last, one after the other."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> tuple[str, Outcome]:
        async with slots:
            return case.name, await _outcome(case, origin, port)

    crowd = [case for case in cases if not case.alone]
    outcomes = dict(await asyncio.gather(*(one(case) for case in crowd)))
    for case in cases:
        if case.alone:
            outcomes[case.name] = await _outcome(case, origin, port)
    return outcomes


async def _outcome(case: Case, origin: Origin, port: int) -> Outcome:
    recording = origin.recordings[case.name]
    methods = list(case.methods)
    got = await visit(port, case.send, methods, recording, patience=case.patience)
    if got.ended != "open" or case.follow:
        await _scripted(recording)
    follower = request(path(case.name, b"/again"))
    again = [
        await visit(port, (follower,), [b"GET"], Recording(), grace=0) for _ in range(case.follow)
    ]
    return Outcome(
        got,
        tuple(recording.requests),
        tuple(again),
        tuple(recording.troubles),
        _missed_after(recording),
        origin.port,
    )


def _missed_after(recording: Recording) -> float:
    if recording.gone_at is None or recording.left_at is None:
        return math.inf
    return recording.left_at - recording.gone_at


async def _scripted(recording: Recording) -> None:
    """Wait until the origin has done what it was to do, if it was asked at all."""
    try:
        async with asyncio.timeout(PATIENCE):
            await recording.idle.wait()
    except TimeoutError:
        recording.troubles.append("origin: still busy")
    await asyncio.sleep(0.05)
