"""The story: three releases that find their ends, a kill, a revive, and what it all came to."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from canary_middleware import verbs
from canary_middleware.cli.drawing import Paper
from canary_middleware.core.records import Audit
from canary_middleware.demo.account import Account, Exported, Release, Window, release_of
from canary_middleware.demo.board import board
from canary_middleware.demo.browser import Connection
from canary_middleware.demo.crowd import Crowd
from canary_middleware.demo.display import Display
from canary_middleware.demo.processes import LOCALHOST, DemoError
from canary_middleware.demo.stage import WORKERS, Change, Setting, Stage
from canary_middleware.demo.words import CHECKOUT, PARTS, SEARCH
from canary_middleware.overview.gathering import gather
from canary_middleware.overview.scene import ENDED
from canary_middleware.overview.scene import Scene as Board
from canary_middleware.overview.wording import told_of

READY_WITHIN: Final = 20.0
EXPORTED_WITHIN: Final = 10.0
USUAL: Final = 250
"""Answers of each old version; from 200 on their latency is the baseline, and no later one is
needed.
"""
SERVED: Final = 10
"""Answers of the new search until its server is killed."""
GLANCE: Final = 0.5
"""Seconds between two looks at the store."""
LINES: Final = 100
"""Of history, at each look."""
ARRIVED: Final = {"idle": 0.1, "ramping": 0.92, "promoted": 0.94, "killed": 0.97}
"""Which share of all visitors has come by the end of which scene; of the last one, all."""
MOVES: Final = ("advance", "hold", "promote", "rollback", "pause", "precaution")
"""What the ramps do by themselves."""

MakeCrowd = Callable[[Sequence[int], float], Crowd]


class Story:
    """Tells it once.

    Args:
        stage: everything that runs.
        crowd: the visitors, already coming.
        display: where it shows.
        setting: how long and how many.
    """

    def __init__(self, stage: Stage, crowd: Crowd, display: Display, setting: Setting) -> None:
        self._stage = stage
        self._crowd = crowd
        self._display = display
        self._setting = setting
        self._board: Board | None = None
        self._told = 0
        self._died: float | None = None

    async def tell(self) -> Account:
        """From the first visitor to the last span.

        Raises:
            DemoError: a part of it failed.
        """
        workers = await self._gather_workers()
        self._admit("ramping")
        begun = time.monotonic()
        for part in PARTS:
            await self._change("start", part.name)
        self._display.line()
        await self._ramp(begun)
        releases = await self._releases()
        before = await self._watch("promoted")
        kill = await self._change("kill", "--why", "this is the demo")
        struck = await self._stage.struck_at()
        await self._watch("killed")
        revive = await self._change("revive", "--yes")
        after = await self._watch("revived")
        await self._crowd.go_home()
        return Account(
            answers=self._crowd.answers,
            errors=self._crowd.errors,
            workers=workers,
            releases=releases,
            before=before,
            struck=struck,
            kill=_window(kill),
            revive=_window(revive),
            after=after,
            died=self._died,
            exported=await self._exported(),
        )

    # --- the beginning --------------------------------------------------------------------------

    async def _gather_workers(self) -> frozenset[int]:
        """Let visitors in until every worker follows the store; WSGI's begin when visited."""
        self._admit("idle")
        expected = 2 * WORKERS
        until = time.monotonic() + READY_WITHIN
        workers: set[int] = set()
        while len(workers) < expected:
            if time.monotonic() > until:
                words = "\n".join(shop.last_words() for shop in self._stage.shops)
                raise DemoError(f"{len(workers)} of {expected} workers follow the store:\n{words}")
            await self._tick("idle")
            workers = await self._stage.workers()
        await self._get_used()
        self._display.line(f"  {expected} workers follow the store, nothing is started")
        return frozenset(workers)

    async def _get_used(self) -> None:
        """Until it is known how fast the old versions are usually; else that is learned later."""
        until = time.monotonic() + READY_WITHIN
        seen: Counter[str] = Counter()
        while time.monotonic() < until and not all(seen[p.stable] >= USUAL for p in PARTS):
            await self._tick("idle")
            seen = Counter(answer.version for answer in self._crowd.answers)

    async def _change(self, *arguments: str) -> Change:
        display = self._display
        display.line()
        shown = " ".join(f'"{part}"' if " " in part else part for part in arguments)
        display.line(f"  {display.paint(f'$ canary {shown}', 'bold')}")
        change = await self._stage.canary(*arguments)
        for line in change.output.splitlines():
            display.wrapped(line, "dim", indent=4)
        return change

    # --- the ramps ------------------------------------------------------------------------------

    async def _ramp(self, begun: float) -> None:
        """Look on until all three have ended, or patience has."""
        until, looked = begun + self._setting.patience, 0.0
        while time.monotonic() < until:
            if time.monotonic() >= looked + GLANCE:
                looked = time.monotonic()
                await self._look(begun)
            if self._died is None:
                self._strike(begun)
            if self._board and all(
                view.entry and view.entry.phase in ENDED for view in self._board.views
            ):
                break
            await self._tick("ramping")
        for text in self._lines():
            self._display.line(text)
        self._board = None

    def _strike(self, begun: float) -> None:
        """Kill the server of the new search as soon as some visitors have seen it."""
        if sum(answer.version == SEARCH.canary for answer in self._crowd.answers) < SERVED:
            return
        self._died = time.monotonic()
        self._stage.processes.kill(self._stage.search)
        told = f"the server of {SEARCH.canary}, {self._stage.search_url}, is killed"
        self._display.wrapped(
            f"{self._died - begun:5.1f} s  {SEARCH.name}: {told}", "bold", indent=2, hanging=9
        )

    async def _look(self, begun: float) -> None:
        """What the store says, and the moves that it made since the last look."""
        stage = self._stage
        self._board = await asyncio.to_thread(gather, stage.store, stage.namespace)
        lines = await asyncio.to_thread(verbs.history, stage.store, None, LINES)
        for line in reversed(lines):
            if line.revision > self._told and line.action in MOVES:
                self._say(line, line.at - time.time() + time.monotonic() - begun)
        self._told = max((line.revision for line in lines), default=self._told)

    def _say(self, line: Audit, at: float) -> None:
        colour = {"promote": "green", "rollback": "red"}.get(line.action, "dim")
        text = f"{at:5.1f} s  {line.scope}: {told_of(line)}"
        self._display.wrapped(text, colour, indent=2, hanging=9)

    async def _releases(self) -> Mapping[str, Release]:
        """What became of them, by what the store knows."""
        store = self._stage.store
        loaded = await asyncio.to_thread(store.load)
        lines = await asyncio.to_thread(verbs.history, store, None, LINES)
        if loaded.document is None:
            raise DemoError("the store has lost the control state")
        offset = time.monotonic() - time.time()
        return {part.name: release_of(part, loaded.document, lines, offset) for part in PARTS}

    # --- looking on -----------------------------------------------------------------------------

    async def _watch(self, scene: str) -> Window:
        """Look on for as long as a scene takes."""
        self._admit(scene)
        seconds, begun = self._setting.seconds, time.monotonic()
        elapsed = 0.0
        while elapsed < seconds or (
            self._crowd.arrived < self._crowd.expected and elapsed < 2 * seconds
        ):
            await self._tick(scene)
            elapsed = time.monotonic() - begun
        over = time.monotonic()
        self._display.line(pulse(self._crowd, self._display, scene, begun))
        return Window(begun, over)

    def _admit(self, scene: str) -> None:
        self._crowd.expected = max(1, round(ARRIVED.get(scene, 1.0) * self._setting.visitors))

    async def _tick(self, label: str) -> None:
        await asyncio.sleep(0.1)
        self._stage.processes.check()
        self._crowd.check()
        now = pulse(self._crowd, self._display, label, time.monotonic() - 1.0)
        self._display.live(now, [*self._lines(), ""] if self._board else ())

    def _lines(self) -> list[str]:
        display = self._display
        paper = Paper(display.width, display.full, display.empty)
        gone = ", which has been killed" if self._died is not None else ""
        notes = {SEARCH.name: f"{SEARCH.canary} is a server at {self._stage.search_url}{gone}"}
        lines = board(self._board, paper, notes) if self._board else []
        return [display.paint(line.text, line.color) if line.color else line.text for line in lines]

    async def _exported(self) -> Exported:
        """What telemetry told, when all of it has arrived."""
        stage = self._stage
        if not self._setting.keep:
            # Their shutdown flushes.
            await stage.processes.leave(*stage.shops)
            return await fetch_counts(stage.receiver)
        until = time.monotonic() + EXPORTED_WITHIN
        while True:
            counts = await fetch_counts(stage.receiver)
            enough = len(self._crowd.answers)
            told = sum(counts.points.values()) + sum(counts.rescued.values())
            least = min(sum(counts.spans.values()), told)
            if least >= enough or time.monotonic() > until:
                return counts
            await asyncio.sleep(0.2)


def pulse(crowd: Crowd, display: Display, label: str, since: float) -> str:
    """One line about what came since then: above all, to which checkout."""
    now = time.monotonic()
    total = asked = canary = 0
    for answer in reversed(crowd.answers):
        if answer.received < since:
            break
        total += 1
        canary += answer.version == CHECKOUT.canary
        asked += answer.version in (CHECKOUT.canary, CHECKOUT.stable)
    share = canary / asked if asked else 0.0
    rate = total / max(0.001, now - since)
    numbers = f"{share:6.1%} on {CHECKOUT.canary} {crowd.arrived:6,} visitors {rate:5,.0f} req/s"
    nothing = f"everybody on {CHECKOUT.stable}" if total else "nobody yet"
    return f"  {label:<8} {display.bar(share, len(numbers) + 12, nothing)} {numbers}"


async def fetch_counts(port: int, method: str = "GET") -> Exported:
    """What the receiver has counted; with ``DELETE`` it begins anew."""
    async with Connection(LOCALHOST, port) as connection:
        response = await connection.request(method, "/counts", {})
    found = json.loads(response.body or "{}")
    return Exported(
        spans=found.get("spans_by_version", {}),
        visitors=found.get("visitors_by_version", {}),
        points=found.get("answers_by_version", {}),
        rescued=found.get("rescued_by_version", {}),
        helped=found.get("rescued_visitors", {}),
    )


def _window(change: Change) -> Window:
    return Window(change.begun, change.over)
