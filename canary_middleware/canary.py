"""The facade: checks the configuration, joins engine, store and agent, and owns their lives."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import os
import secrets
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from canary_middleware.agent import Agent
from canary_middleware.core.cookie import CookieFormat, Secure
from canary_middleware.core.model import Reason, Rollout
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.core.validate import (
    as_bytes,
    key_problems,
    namespace_problems,
    overlap_problems,
    rollout_problems,
    seconds_problems,
    secret_problems,
    secure_problems,
    vary_problems,
    weight_problem,
)
from canary_middleware.core.weight import parse_weight
from canary_middleware.engine.engine import Engine, Identify, Observer, Settings
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.stores import open_store
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.telemetry import Telemetry

logger = logging.getLogger("canary_middleware")

SAFE_DEFAULT = 60.0


class Canary:
    """One configuration, shared by the middlewares of a process.

    Args:
        rollouts: what is on its way out.
        namespace: names the cookie, the keys in the store and the buckets; required with a shared
            store. Applications of one site that share visitors share it.
        store: ``memory://`` (one process), ``redis://``, ``rediss://``, ``unix://``, or a redis-py
            client, which is used and never closed.
        secret_keys: keys that sign the cookie, at least 32 bytes each; oldest first, last signs.
        bucket_secret: secret under which identified visitors are drawn; never rotate it.
        identify: who a request belongs to; gets a
            :class:`~canary_middleware.engine.views.RequestView`.
        vary: request headers that ``identify`` reads by other ways than ``view.header()``.
        secure: see :class:`~canary_middleware.core.cookie.CookieFormat`; ``False`` for plain HTTP.
        max_staleness: seconds without a confirmation of the control state after which running
            rollouts serve stable; ``None`` for never.
        kill_grace: seconds that open WebSockets and event streams of a killed canary may go on.
        poll: seconds between two looks at the store at most; pushes arrive at once.
        first_load: seconds that a new process waits for its first look at the store, at most.
        snapshot_path: a directory in which the last state and kill are kept across restarts.
        autostart: only with ``memory://``: start every rollout at this weight.
        telemetry: an :class:`~canary_middleware.telemetry.Telemetry`, ``None`` for the default,
            which uses the global OpenTelemetry providers, ``False`` for none.
        debug: raise the errors of hooks instead of serving stable; make keys up if there are none.

    Raises:
        ConfigurationError: with every mistake at once.
    """

    def __init__(
        self,
        *rollouts: Rollout,
        namespace: str | None = None,
        store: str | Any = "memory://",
        secret_keys: Sequence[str | bytes] = (),
        bucket_secret: str | bytes | None = None,
        identify: Identify | None = None,
        vary: Sequence[str] = (),
        secure: Secure = True,
        max_staleness: float | None = SAFE_DEFAULT,
        kill_grace: float = 5.0,
        poll: float = 0.8,
        first_load: float = 0.25,
        snapshot_path: str | Path | None = None,
        autostart: str | None = None,
        telemetry: Observer | bool | None = None,
        debug: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        shared = store != "memory://"
        if debug and not secret_keys:
            secret_keys = [secrets.token_bytes(32)]
        problems = [
            *rollout_problems(rollouts),
            *namespace_problems(namespace, shared=shared),
            *key_problems(secret_keys),
            *_identity_problems(identify, bucket_secret),
            *_autostart_problems(autostart, shared=shared),
            *vary_problems(vary),
            *secure_problems(secure),
            *seconds_problems(kill_grace, "kill_grace", "such as 5.0"),
            *seconds_problems(poll, "poll", "such as 0.8"),
            *seconds_problems(first_load, "first_load", "such as 0.25"),
        ]
        if max_staleness is not None:
            problems += seconds_problems(max_staleness, "max_staleness", "or None for never")
        if problems:
            raise ConfigurationError(problems)
        self.namespace = namespace or "canary"
        self.identify_is_async = _is_async(identify)
        self._settings = Settings(
            namespace=self.namespace,
            keys=tuple(as_bytes(key) for key in secret_keys),
            bucket_secret=as_bytes(bucket_secret) if bucket_secret else b"",
            cookie=CookieFormat(self.namespace, secure),
            identify=identify,
            vary=tuple(vary),
            # One process is its own truth: there is nothing that could fail to confirm it.
            max_staleness=max_staleness if shared else None,
            kill_grace=kill_grace,
            debug=debug,
            clock=clock,
            wall=wall,
        )
        self.engine = Engine(rollouts, self._settings)
        self.store = open_store(store, self.namespace)
        self._lock = Lock()
        self._kinds: list[str] = []
        self._first_load = first_load
        self.engine.describe_with(_observer(telemetry, self.engine))
        self.agent: Agent | None = None
        if shared:
            self.agent = Agent(
                self.engine,
                self.store,
                namespace=self.namespace,
                poll=poll,
                snapshot_path=Path(snapshot_path) if snapshot_path else None,
                kind=lambda: "+".join(sorted(set(self._kinds))) or "python",
                in_flight=self.engine.canaries_running,
                clock=clock,
                wall=wall,
            )
        self.awake = False
        _forget_at_fork(self)
        if isinstance(self.store, MemoryStore):
            self._be_local(self.store, autostart)

    # --- what the shells ask --------------------------------------------------------------------

    def attach(self, kind: str, targets: Mapping[str, object]) -> None:
        """A middleware of this kind ("asgi", "wsgi") serves these targets.

        Raises:
            ConfigurationError: two targets whose scopes overlap.
        """
        self._kinds.append(kind)
        problems = overlap_problems([r for r in self.engine.rollouts if r.name in targets])
        if problems:
            raise ConfigurationError(problems)

    def unknown_targets(self, targets: Mapping[str, object]) -> list[Problem]:
        """Targets that name no declared rollout."""
        names = [rollout.name for rollout in self.engine.rollouts]
        return [
            Problem(f"targets[{name!r}]", "names no rollout", f"declared: {', '.join(names)}")
            for name in targets
            if name not in names
        ]

    async def arrive(self) -> None:
        """As :meth:`arrive_blocking`, without blocking the event loop."""
        if not self.awake:
            await asyncio.to_thread(self.arrive_blocking)

    def arrive_blocking(self) -> None:
        """Start this process's agent and wait for the first load, at most ``first_load`` seconds.

        Called by the first visit or the lifespan, never at import: a server that forks after
        loading the application would leave the threads and connections behind in the parent.
        """
        with self._lock:
            if self.awake:
                return
            if self.agent is not None:
                self.agent.ensure_started()
                self.agent.wait_first_load(self._first_load)
                atexit.register(self.stop)
            self._announce()
            self.awake = True

    def stop(self) -> None:
        """Stop the agent's threads, close the connections that we opened; a visit begins anew."""
        atexit.unregister(self.stop)
        self.awake = False
        if self.agent is not None:
            self.agent.stop()
        self.store.close()

    # --- private --------------------------------------------------------------------------------

    def _be_local(self, store: MemoryStore, autostart: str | None) -> None:
        """``memory://``: the process is the whole namespace and adopts changes as it makes them."""
        store.subscribe(self.engine.adopt)
        if autostart is not None:
            self._autostart(parse_weight(autostart))

    def _autostart(self, weight: int) -> None:
        now = self._settings.wall()
        document = Document(secrets.token_hex(8))
        why = "Canary(autostart=...)"
        for rollout in self.engine.rollouts:
            plan = Plan.from_rollout(rollout)
            command = Command(Verb.START, rollout.name, why, plan=plan, weight=weight)
            document = apply(document, command, now)
        audit = Audit(now, "autostart", "start", "*", "", "paused", why, document.revision)
        self.store.swap(None, document, audit)

    def forked(self) -> None:
        """Begin anew in a forked child, which is single-threaded when this is called.

        Locks may have been held in the parent, and what the parent counted is not ours to report.
        """
        self._lock = Lock()
        self.awake = False
        self.engine.after_fork()

    def _announce(self) -> None:
        for lane in self.engine.snapshot.lanes:
            if lane.gate is Reason.IDLE:
                logger.info("%s: idle, run: canary start %s", lane.name, lane.name)


def _forget_at_fork(canary: Canary) -> None:
    """Renew a canary's locks in every child, for as long as the canary lives."""
    reference = weakref.ref(canary)

    def in_child() -> None:
        alive = reference()
        if alive is not None:
            alive.forked()

    os.register_at_fork(after_in_child=in_child)


def _is_async(identify: Identify | None) -> bool:
    # An object whose __call__ is a coroutine function is not one itself.
    behind = type(identify).__dict__.get("__call__")
    return inspect.iscoroutinefunction(identify) or inspect.iscoroutinefunction(behind)


def _observer(telemetry: Observer | bool | None, engine: Engine) -> Observer | None:
    if telemetry is False:
        return None
    if telemetry is None or telemetry is True:
        telemetry = Telemetry()
    telemetry.watch(engine)
    return telemetry


def _identity_problems(identify: object, secret: str | bytes | None) -> list[Problem]:
    hint = "python -c 'import secrets; print(secrets.token_urlsafe(32))'; it is never rotated"
    if secret is not None:
        return secret_problems(secret, "bucket_secret", hint)
    if identify is not None:
        return [Problem("bucket_secret", "is missing, and identify is given", hint)]
    return []


def _autostart_problems(autostart: object, *, shared: bool) -> list[Problem]:
    if autostart is None:
        return []
    if shared:
        hint = "with a shared store use: canary start NAME --weight 5%"
        return [Problem("autostart", "works with memory:// only", hint)]
    return weight_problem(autostart, "autostart")
