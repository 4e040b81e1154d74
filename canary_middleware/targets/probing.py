"""Asks the upstreams of a process whether they are ready: one thread, as probes may wait."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from canary_middleware.engine.engine import Engine
from canary_middleware.upstream.health import Probe

logger = logging.getLogger("canary_middleware")

STABLE: Final = ""
"""Stands for the wrapped application, beside the names of rollouts."""
BRIEF: Final = 0.25
"""Seconds that a start waits for the first answers, so that a canary that is there gets the first
visitors too."""
Silence = Callable[[], str]
"""Why another server does not answer its probe, or nothing; may wait as long as a connect may."""


def probes_of(app: object, targets: Mapping[str, object]) -> dict[str, Silence]:
    """How to learn whether the other servers of a middleware are there."""
    every = {STABLE: app, **targets}
    found = {name: getattr(one, "silence", None) for name, one in every.items()}
    return {name: silence for name, silence in found.items() if silence is not None}


class Prober:
    """See the module. The canary's arm of a rollout is closed until its target has answered once.

    From then on it is passive health that decides: a target that stops answering is superseded
    request by request, and its failures count. All are asked again and again, for whoever reads the
    status or wants to move everybody. One is asked at a time, so a probe that hangs makes no second
    one, and holds the others up no longer than a connect may take.

    Args:
        engine: of the process.
        probes: see :func:`probes_of`.
    """

    def __init__(self, engine: Engine, probes: Mapping[str, Silence]) -> None:
        self._engine = engine
        self._probes = dict(probes)
        self._books = {name: Probe() for name in probes}
        self._left = threading.Event()
        self._pid = 0
        for name in probes.keys() - {STABLE}:
            engine.set_ready(name, ready=False)

    def ensure_started(self) -> None:
        """Start the thread, unless it runs in this process, and wait a moment for it."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._left, asked = threading.Event(), threading.Event()
        run = partial(self._run, self._left, asked)
        threading.Thread(target=run, name="canary-probes", daemon=True).start()
        asked.wait(BRIEF)

    def stop(self) -> None:
        """Ask no more."""
        self._pid = 0
        self._left.set()

    def _run(self, left: threading.Event, asked: threading.Event) -> None:
        while not left.is_set():
            for name, book in self._books.items():
                if book.due(time.monotonic()) == 0.0 and not left.is_set():
                    self._ask(name, book)
            asked.set()
            now = time.monotonic()
            left.wait(min(book.due(now) for book in self._books.values()))

    def _ask(self, name: str, book: Probe) -> None:
        try:
            why = self._probes[name]()
        except Exception as error:  # noqa: BLE001  # names that nobody can look up, and the unknown
            why = repr(error)
        before = self._engine.silences.get(name, "")
        book.probed(not why, time.monotonic(), random.random())
        self._engine.tell_silence(name, why)
        if not why and name != STABLE:
            self._engine.set_ready(name, ready=True)
        if bool(why) != bool(before):
            who = f"target of {name}" if name else "stable"
            said = f"does not answer its probe: {why}" if why else "answers its probe"
            logger.warning("%s: %s", who, said)
