"""The story: a start, three weights, a kill, a revive, and what it all came to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from textwrap import wrap
from typing import Final

from canary_middleware.demo.browser import Connection
from canary_middleware.demo.crowd import Crowd
from canary_middleware.demo.display import Display
from canary_middleware.demo.processes import LOCALHOST, DemoError
from canary_middleware.demo.stage import WORKERS, Change, Setting, Stage
from canary_middleware.demo.summary import Account, Exported, Scene, Window
from canary_middleware.demo.words import CANARY, ROLLOUT, STABLE

READY_WITHIN: Final = 20.0
EXPORTED_WITHIN: Final = 10.0
ARRIVED: Final = {"idle": 0.02, "5 %": 0.32, "25 %": 0.62, "50 %": 0.92, "killed": 0.96}
"""Which share of all visitors has come by the end of which scene; of the last one, all."""

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
        self._changes: list[Change] = []
        self._scenes: list[Scene] = []

    async def tell(self) -> Account:
        """From the first visitor to the last span.

        Raises:
            DemoError: a part of it failed.
        """
        workers = await self._gather_workers()
        for weight in (5, 25, 50):
            begin = ("start", ROLLOUT, "--weight") if weight == 5 else ("weight", ROLLOUT)
            await self._change(*begin, f"{weight}%")
            name = f"{weight} %"
            self._scenes.append(Scene(name, weight, await self._watch(name)))
        kill = await self._change("kill", "--why", "this is the demo")
        struck = await self._stage.struck_at()
        await self._watch("killed")
        revive = await self._change("revive")
        self._scenes.append(Scene("revived", 50, await self._watch("revived")))
        await self._crowd.go_home()
        exported = await self._exported()
        return Account(
            answers=self._crowd.answers,
            errors=self._crowd.errors,
            workers=workers,
            changes=[_window(change) for change in self._changes],
            scenes=self._scenes,
            struck=struck,
            kill=_window(kill),
            revive=_window(revive),
            exported=exported,
        )

    # --- private --------------------------------------------------------------------------------

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
        self._display.line(f"  {expected} workers follow the store; nothing is started, "
                           f"so everybody gets {STABLE}")  # fmt: skip
        return frozenset(workers)

    async def _change(self, *arguments: str) -> Change:
        display = self._display
        display.line()
        shown = " ".join(f'"{part}"' if " " in part else part for part in arguments)
        display.line(f"  {display.paint(f'$ canary {shown}', 'bold')}")
        change = await self._stage.canary(*arguments)
        for line in change.output.splitlines():
            for part in wrap(line, 74, subsequent_indent="  ", break_on_hyphens=False):
                display.line(display.paint(f"    {part}", "dim"))
        self._changes.append(change)
        return change

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
        self._display.line(self._pulse(scene, begun))
        return Window(begun, over)

    def _admit(self, scene: str) -> None:
        self._crowd.expected = max(1, round(ARRIVED.get(scene, 1.0) * self._setting.visitors))

    async def _tick(self, label: str) -> None:
        await asyncio.sleep(0.1)
        self._stage.processes.check()
        self._crowd.check()
        self._display.live(self._pulse(label, time.monotonic() - 1.0))

    def _pulse(self, label: str, since: float) -> str:
        return pulse(self._crowd, self._display, label, since)

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
            least = min(sum(counts.spans.values()), sum(counts.points.values()))
            if least >= enough or time.monotonic() > until:
                return counts
            await asyncio.sleep(0.2)


def pulse(crowd: Crowd, display: Display, label: str, since: float) -> str:
    """One line about what came since then."""
    now = time.monotonic()
    total = canary = 0
    for answer in reversed(crowd.answers):
        if answer.received < since:
            break
        total += 1
        canary += answer.version == CANARY
    share = canary / total if total else 0.0
    rate = total / max(0.001, now - since)
    numbers = f"{share:6.1%} on {CANARY} {crowd.arrived:7,} visitors {rate:5,.0f} req/s"
    nothing = f"everybody on {STABLE}" if total else "nobody yet"
    return f"  {label:<7} {display.bar(share, len(numbers) + 11, nothing)} {numbers}"


async def fetch_counts(port: int, method: str = "GET") -> Exported:
    """What the receiver has counted; with ``DELETE`` it begins anew."""
    async with Connection(LOCALHOST, port) as connection:
        response = await connection.request(method, "/counts", {})
    found = json.loads(response.body or "{}")
    return Exported(
        spans=found.get("spans_by_version", {}),
        visitors=found.get("visitors_by_version", {}),
        points=found.get("answers_by_version", {}),
    )


def _window(change: Change) -> Window:
    return Window(change.begun, change.over)
