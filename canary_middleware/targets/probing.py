"""Asks the upstreams of a process whether they are ready: one thread, as probes may wait."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from canary_middleware.engine.engine import Engine
from canary_middleware.upstream.health import Probe

logger = logging.getLogger("canary_middleware")

STABLE: Final = ""
"""Stands for the wrapped application, beside the names of rollouts."""


Answers = Callable[[], bool]
"""Whether another server answers its probe; may wait for as long as a connect may take."""
NO_PROBES: Final[Mapping[str, Answers]] = MappingProxyType({})


class Prober:
    """See the module. The canary's arm of a rollout is closed until its target has answered once.

    From then on it is passive health that tells: a target that stops answering is superseded
    request by request, and its failures count. Stable is asked again and again, for whoever wants
    to send everybody back there.

    Args:
        engine: of the process.
        probes: by rollout those of targets, and that of the wrapped application under
            :data:`STABLE`.
    """

    def __init__(self, engine: Engine, probes: Mapping[str, Answers]) -> None:
        self._engine = engine
        self._probes = dict(probes)
        self._books = {name: Probe() for name in probes}
        self._left = threading.Event()
        self._pid = 0
        for name in probes.keys() - {STABLE}:
            engine.set_ready(name, ready=False)

    def ensure_started(self) -> None:
        """Start the thread, unless it runs in this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._left = threading.Event()
            threading.Thread(target=self._run, name="canary-probes", daemon=True).start()

    def stop(self) -> None:
        """Ask no more."""
        self._pid = 0
        self._left.set()

    def _run(self) -> None:
        left = self._left
        while self._books and not left.is_set():
            for name, book in list(self._books.items()):
                if book.due(time.monotonic()) == 0.0:
                    self._ask(name, book)
            now = time.monotonic()
            left.wait(min((book.due(now) for book in self._books.values()), default=0.0))

    def _ask(self, name: str, book: Probe) -> None:
        ok = self._probes[name]()
        changed = book.probed(ok, time.monotonic(), random.random())
        if name == STABLE:
            self._engine.stable_answers = ok
        elif ok:
            self._engine.set_ready(name, ready=True)
            del self._books[name]
        if changed:
            who = f"target of {name}" if name else "stable"
            logger.info("%s: %s its probe", who, "answers" if ok else "does not answer")
