"""``canary demo``: builds the stage, tells the story, shows the summary, ends everything."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Final, TextIO

from canary_middleware.demo.crowd import RETURNS, Crowd
from canary_middleware.demo.display import Display
from canary_middleware.demo.pieces import find_missing
from canary_middleware.demo.processes import LOCALHOST, DemoError
from canary_middleware.demo.stage import Setting, Stage, build, without_password
from canary_middleware.demo.story import ARRIVED, MakeCrowd, Story, fetch_counts, pulse
from canary_middleware.demo.telling import told
from canary_middleware.demo.words import CHECKOUT, DOUBLE, PARTS, PAY, SEARCH
from canary_middleware.errors import ConfigurationError, Problem

FAILED: Final = 1
STOPPED: Final = 128
"""Plus the number of the signal, as shells have it."""
STROLL: Final = 20.0
"""Visits per second while the demo is kept running."""
COURSE: Final = 4.5
"""Paces that a good release takes, about: four steps, and a moment for evidence."""
WRONG: Final = {
    CHECKOUT.name: "nothing is wrong with it",
    PAY.name: f"charges {DOUBLE:.0%} of all orders twice, with clean 200s",
    SEARCH.name: "is another server, which dies",
}

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    *,
    store: str | None = None,
    keep: bool = False,
    visitors: int = 3000,
    prometheus: str | None = None,
    out: TextIO | None = None,
) -> int:
    """Play the demo.

    Args:
        store: URL of a Redis to use; its own, ended with it, by default.
        keep: go on after the summary until Ctrl-C.
        visitors: how many distinct visitors come, if the host is fast enough.
        prometheus: a directory for files that tell a Prometheus what to scrape.
        out: where to show it; standard output by default.

    Returns:
        0 if everything held that must hold, 1 if not, 128 + signal if it was stopped before.

    Raises:
        MissingExtraError: something is not installed.
        ConfigurationError: the given store is none that processes share.
        StoreError: the given store cannot be used.
    """
    if store is not None and store.startswith("memory:"):
        hint = "redis://host:6379/0, or leave --store out"
        raise ConfigurationError([Problem("store", "memory:// lives inside one process", hint)])
    find_missing(own_store=store is None)
    setting = Setting(store=store, keep=keep, visitors=visitors, prometheus=prometheus)
    return play(setting, out or sys.stdout)


def play(setting: Setting, out: TextIO, make_crowd: MakeCrowd = Crowd) -> int:
    """As :func:`run`, with every part of the setting to choose."""
    display = Display(out)
    demo = _Demo(setting, display, make_crowd)
    try:
        asyncio.run(demo.main())
    except asyncio.CancelledError:
        display.close()
        if demo.code is None:
            display.line("stopped")
            return STOPPED + demo.stopped_by
    except DemoError as error:
        display.line(f"{display.paint('FAILED', 'red')} {error}")
        return FAILED
    return FAILED if demo.code is None else demo.code


class _Demo:
    """One run; signals cancel it, so that every context on the way out ends what it started."""

    def __init__(self, setting: Setting, display: Display, make_crowd: MakeCrowd) -> None:
        self.code: int | None = None
        self.stopped_by = 0
        self._setting = setting
        self._display = display
        self._make_crowd = make_crowd

    async def main(self) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            self.stopped_by = number
            if task is not None:
                task.cancel()

        for number in _SIGNALS:
            loop.add_signal_handler(number, stop, number)
        self._display.line(self._display.paint("canary demo", "bold"))
        async with build(self._setting) as stage:
            await self._play(stage)

    async def _play(self, stage: Stage) -> None:
        self._introduce(stage)
        setting = self._setting
        # New visitors, and among them those who return, for as long as a ramp takes.
        new = ARRIVED["ramping"] * setting.visitors / (COURSE * setting.pace)
        async with self._make_crowd(stage.ports, max(10.0, new / (1 - RETURNS))) as crowd:
            account = await Story(stage, crowd, self._display, setting).tell()
        self.code = 0 if told(account, self._display) else FAILED
        if setting.keep:
            self._invite(stage)
            await self._go_on(stage)

    def _introduce(self, stage: Stage) -> None:
        fastapi, flask = stage.ports
        line = self._display.line
        line(f"  store    {without_password(stage.url)}  namespace {stage.namespace}")
        line(f"  fastapi  http://{LOCALHOST}:{fastapi}  uvicorn, 2 workers")
        line(f"  flask    http://{LOCALHOST}:{flask}  gunicorn, 2 workers")
        line(f"  search   {stage.search_url}  uvicorn, the new search of both")
        line(f"  metrics  {stage.targets}  for a Prometheus")
        line(f"  panel    {stage.guest.url}  sign in with {stage.guest.token}")
        line()
        for part in PARTS:
            line(f"  {part.name:<8} {part.stable} -> {part.canary}  {WRONG[part.name]}")
        line()

    def _invite(self, stage: Stage) -> None:
        line = self._display.line
        name = _command()
        line()
        line("  Still running, with some visitors. In a browser:")
        line()
        for port in stage.ports:
            line(f"    http://{LOCALHOST}:{port}{CHECKOUT.path}")
        line(f"    {stage.guest.url}  the panel; sign in with {stage.guest.token}")
        line()
        line("  In another terminal (revive and rollback ask first; --yes answers):")
        line()
        url = without_password(stage.url)
        line(f"    export CANARY_STORE={url if url == stage.url else '(what you gave to --store)'}")
        line(f"    export CANARY_NAMESPACE={stage.namespace}")
        for verb in ("watch", f"history {PAY.name}", "kill --why oops", "revive",
                     f"rollback {CHECKOUT.name} --why second-thoughts"):  # fmt: skip
            line(f"    {name} {verb}")
        line()
        line("  Ctrl-C ends it all.")
        line()

    async def _go_on(self, stage: Stage) -> None:
        async with self._make_crowd(stage.ports, STROLL) as crowd:
            crowd.expected = 200
            while True:
                for _ in range(100):
                    await asyncio.sleep(0.1)
                    stage.processes.check()
                    crowd.check()
                    self._display.live(
                        pulse(crowd, self._display, "now", time.monotonic() - 1.0), every=10.0
                    )
                # It may be kept for days.
                del crowd.answers[:-200]
                await fetch_counts(stage.receiver, "DELETE")


def _command() -> str:
    """How to call ``canary`` in a terminal that has the caller's PATH and folder."""
    script = Path(sys.executable).with_name("canary")
    if not script.exists():
        return f"{sys.executable} -m canary_middleware.cli"
    if script.is_relative_to(Path.cwd()):
        return os.path.relpath(script)
    return "canary" if shutil.which("canary") == str(script) else str(script)
