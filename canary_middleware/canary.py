"""The facade: checks the configuration, joins engine, store and agent, and owns their lives."""

from __future__ import annotations

import atexit
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
from canary_middleware.agent.affinity import BUDGET, asker
from canary_middleware.agent.alerting import Alerts
from canary_middleware.core import validate
from canary_middleware.core.cookie import CookieFormat, Secure
from canary_middleware.core.model import Memory, Reason, Rollout
from canary_middleware.core.records import Audit
from canary_middleware.core.service import Callers, caller_problems
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.core.webhook import Webhook, alert_problems, gate_problems
from canary_middleware.core.weight import parse_weight
from canary_middleware.engine.engine import Engine, Identify, Observer, Settings
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.stores import Credentials, StateStore, open_store
from canary_middleware.stores.memory import MemoryStore
from canary_middleware.stores.quick import place_problems
from canary_middleware.targets.probing import Prober, Silence
from canary_middleware.telemetry import Telemetry

logger = logging.getLogger("canary_middleware")

NOBODY = Callers()
MAX_STALENESS = 60.0
WEEK = 7 * 86_400.0
"""Seconds; the default of ``max_staleness``."""


class Canary:
    """One configuration, shared by the middlewares of a process.

    Args:
        rollouts: what is on its way out.
        namespace: names the cookie, the keys in the store and the buckets; required with a shared
            store. Applications of one site that share visitors share it.
        store: ``memory://`` (one process), ``sqlite:///path`` (the processes of one host),
            ``redis://``, ``rediss://``, ``unix://``, a redis-py client, which is used and never
            closed, or a :class:`~canary_middleware.stores.StateStore` of one's own; see
            docs/stores.md.
        credentials: returns the present user and password for the URL of a Redis, in any thread;
            asked for each new connection, so that a rotation needs no restart.
        secret_keys: keys that sign the cookie, at least 32 bytes each; oldest first, last signs.
            They must be given; with ``debug`` alone a process makes one of its own.
        bucket_secret: secret under which identified visitors are drawn; never rotate it.
        identify: who a request belongs to; gets a
            :class:`~canary_middleware.engine.views.RequestView`.
        vary: request headers that ``identify`` reads by other ways than ``view.header()``.
        callers: which calling services may say what cohort a visitor has; by default none, see
            :class:`~canary_middleware.core.service.Callers`.
        secure: ``True``: the cookie travels over TLS only; ``False``: for plain HTTP; ``"auto"``:
            writes the former and reads both, for the day on which a site moves to HTTPS.
        overrides: how requests may carry the tokens of ``canary token``: ``"header"``,
            ``"cookie"``, ``"query"``. None by default; see docs/overrides.md.
        max_staleness: seconds without a confirmation of the control state after which running
            rollouts serve stable, at least ``2 * poll + 1``; ``None`` for never.
        kill_grace: seconds that open WebSockets and event streams of a killed canary may go on.
        drain: seconds that they may go on after any other move that gives their visitor the other
            version: a weight, a promotion, a rollback.
        poll: the store is looked at at least once in so many seconds; pushes arrive at once.
        first_load: seconds that a new process waits for its first look at the store, at most.
        snapshot_path: a directory in which the last state and kill are kept across restarts; it
            is made when it is missing, what it stands in is not.
        claim_budget: seconds that a request waits for the store with shared affinity, at most;
            after that the bucket decides.
        alerts: whom to tell what happens, as :class:`~canary_middleware.core.webhook.Webhook`;
            see docs/alerts.md.
        webhook_secret: signs what is sent to them and to the gates of ramps.
        autostart: only with ``memory://``: start every rollout at this weight.
        telemetry: a :class:`~canary_middleware.telemetry.Telemetry`, ``None`` for the default,
            which uses the global OpenTelemetry providers, ``False`` for none.
        debug: raise the errors of hooks instead of serving stable; make keys up if there are none.
        clock: monotonic seconds, by which silence, kills and durations are measured.
        wall: seconds since the epoch, by which cookies and changes are dated. Both are for tests.

    Raises:
        ConfigurationError: with every mistake at once.
        MissingExtraError: the store needs a library that is not installed.

    Attributes:
        engine: decides and counts; what requests see.
        store: holds the control state.
        asker: asks the store for claims, on behalf of requests.
        agent: keeps the engine in step with the store and measures; ``None`` with ``memory://``
            where nothing is measured.
        identify_is_async: whether ``identify`` has to be awaited.
        awake: whether this process has had its first look at the store.
    """

    def __init__(
        self,
        *rollouts: Rollout,
        namespace: str | None = None,
        store: str | Any = "memory://",
        credentials: Credentials | None = None,
        secret_keys: Sequence[str | bytes] = (),
        bucket_secret: str | bytes | None = None,
        identify: Identify | None = None,
        vary: Sequence[str] = (),
        callers: Callers = NOBODY,
        secure: Secure = True,
        overrides: Sequence[str] = (),
        max_staleness: float | None = MAX_STALENESS,
        kill_grace: float = 5.0,
        drain: float = 600.0,
        poll: float = 0.8,
        first_load: float = 0.25,
        claim_budget: float = BUDGET,
        snapshot_path: str | Path | None = None,
        alerts: Sequence[Webhook] = (),
        webhook_secret: str | bytes | None = None,
        autostart: str | None = None,
        telemetry: Observer | bool | None = None,
        debug: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        shared = store != "memory://"
        if debug is True and not secret_keys:
            secret_keys = [secrets.token_bytes(32)]
        problems = [
            *validate.rollout_problems(rollouts, identified=identify is not None),
            *validate.namespace_problems(namespace, shared=shared),
            *validate.key_problems(secret_keys),
            *validate.identity_problems(identify, bucket_secret),
            *validate.vary_problems(vary),
            *caller_problems(callers),
            *validate.secure_problems(secure),
            *validate.override_problems(overrides),
            *validate.pace_problems(poll, first_load, max_staleness),
            *validate.seconds_problems(claim_budget, "claim_budget", f"such as {BUDGET}", most=1.0),
            *validate.seconds_problems(kill_grace, "kill_grace", "such as 5.0", most=WEEK),
            *validate.seconds_problems(drain, "drain", "such as 600.0", most=WEEK),
            *_snapshot_problems(snapshot_path),
            *alert_problems(alerts, webhook_secret),
            *gate_problems(rollouts, webhook_secret),
            *validate.autostart_problems(autostart, shared=shared),
            *validate.observer_problems(telemetry, Observer),
            *validate.flag_problems(debug, "debug"),
            *validate.callable_problems(clock, "clock", "such as time.monotonic"),
            *validate.callable_problems(wall, "wall", "such as time.time"),
            *_credentials_problems(credentials),
        ]

        self.namespace = namespace or "canary"
        keeps_places = any(
            getattr(rollout, "affinity", None) == Memory.SHARED.value for rollout in rollouts
        )
        self.store = _opened(
            store, self.namespace, credentials, problems, keeps_places=keeps_places
        )
        self._settings = Settings(
            namespace=self.namespace,
            keys=tuple(validate.as_bytes(key) for key in secret_keys),
            bucket_secret=validate.as_bytes(bucket_secret) if bucket_secret else b"",
            cookie=CookieFormat(self.namespace, secure),
            identify=identify,
            vary=tuple(vary),
            overrides=tuple(overrides),
            callers=callers,
            # One process is its own truth: there is nothing that could fail to confirm it.
            max_staleness=max_staleness if shared else None,
            kill_grace=kill_grace,
            drain=drain,
            debug=debug,
            clock=clock,
            wall=wall,
        )

        self.engine = Engine(rollouts, self._settings)
        self.engine.describe_with(_observer(telemetry, self.engine))
        # Without these a process that is its own namespace has nothing to do beside its requests.
        busy = bool(alerts) or any(rollout.guards for rollout in rollouts)
        told = Alerts(tuple(alerts), webhook_secret)
        self.agent = self._make_agent(poll, snapshot_path, told) if shared or busy else None
        self.asker = asker(self.engine, self.store, claim_budget)
        self.identify_is_async = validate.is_async(identify)
        self.awake = False
        self._lock = Lock()
        self._kinds: list[str] = []
        self._probers: list[Prober] = []
        self._first_load = first_load
        _forget_at_fork(self)
        if isinstance(self.store, MemoryStore):
            self._be_local(self.store, autostart)

    # --- what the shells ask --------------------------------------------------------------------

    def attach(
        self, kind: str, targets: Mapping[str, object], probes: Mapping[str, Silence] | None = None
    ) -> None:
        """A middleware of this kind ("asgi", "wsgi") serves these targets.

        Args:
            kind: of server.
            targets: by rollout.
            probes: of upstreams; see :class:`~canary_middleware.targets.probing.Prober`.

        Raises:
            ConfigurationError: two targets whose scopes overlap.
        """
        self._kinds.append(kind)
        if probes:
            self._probers.append(Prober(self.engine, probes))
        problems = validate.overlap_problems([r for r in self.engine.rollouts if r.name in targets])
        if problems:
            raise ConfigurationError(problems)

    def unknown_targets(self, targets: Mapping[str, object]) -> list[Problem]:
        """Targets that name no declared rollout."""
        return validate.target_problems(targets, self.engine.rollouts)

    async def arrive(self) -> None:
        """As :meth:`arrive_blocking`, without blocking the event loop."""
        if not self.awake:
            import asyncio  # a WSGI process has no use for it

            if self.agent is not None:
                self.agent.loops.watch(asyncio.get_running_loop())
            try:
                await asyncio.to_thread(self.arrive_blocking)
            except RuntimeError as error:
                self._cannot_start(error)

    def arrive_blocking(self) -> None:
        """Start this process's agent and wait for the first load, at most ``first_load`` seconds.

        Called by the first visit or the lifespan, never at import: a server that forks after
        loading the application would leave the threads and connections behind in the parent.
        """
        with self._lock:
            if self.awake:
                return
            if self.agent is not None:
                try:
                    self.agent.ensure_started()
                except RuntimeError as error:
                    self._cannot_start(error)
                    return
                self.agent.wait_first_load(self._first_load)
                atexit.register(self.stop)
            for prober in self._probers:
                prober.ensure_started()
            self._announce()
            self.awake = True

    def stop(self) -> None:
        """Stop the agent's threads, close the connections that we opened; a visit begins anew."""
        atexit.unregister(self.stop)
        self.awake = False
        for prober in self._probers:
            prober.stop()
        if self.agent is not None:
            self.agent.stop()
        self.asker.stop()
        self.store.close()

    # --- private --------------------------------------------------------------------------------

    def _cannot_start(self, error: RuntimeError) -> None:
        # The system's limit of threads: requests go on, on stable, and each of them tries again.
        place, text = "error_agent", "no thread for the agent: %s; stable is served (logged once)"
        self.engine.faults.warn(place, text, error)

    def _make_agent(self, poll: float, snapshot_path: str | Path | None, told: Alerts) -> Agent:
        return Agent(
            self.engine,
            self.store,
            namespace=self.namespace,
            poll=poll,
            snapshot_path=Path(snapshot_path) if snapshot_path else None,
            kind=lambda: "+".join(sorted(set(self._kinds))) or "python",
            in_flight=self.engine.canaries_running,
            streams=self.engine.streaming,
            silent=self.engine.silent,
            alerts=told,
            clock=self._settings.clock,
            wall=self._settings.wall,
        )

    def _be_local(self, store: MemoryStore, autostart: str | None) -> None:
        """``memory://``: the process is the whole namespace and adopts changes as it makes them."""
        store.subscribe(self.engine.adopt)
        store.watch(lambda gone: self.engine.claims.forget(gone.rollout, gone.keys))
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
        if isinstance(self.store, MemoryStore):
            self.store.after_fork()
        self.engine.after_fork()
        self.asker.forked()

    def _announce(self) -> None:
        for lane in self.engine.snapshot.lanes:
            if lane.gate is Reason.IDLE:
                logger.info("%s: idle, run: canary start %s", lane.name, lane.name)
        if self._settings.debug and self._settings.cookie.secure:
            # Told in debug only: no server can tell plain HTTP from TLS that ended before it.
            logger.warning(
                "the visitor cookie is Secure: over plain HTTP most clients do not send it back, "
                "and every request is a new visitor; plain HTTP needs secure=False"
            )


def _forget_at_fork(canary: Canary) -> None:
    """Renew a canary's locks in every child, for as long as the canary lives."""
    reference = weakref.ref(canary)

    def in_child() -> None:
        alive = reference()
        if alive is not None:
            alive.forked()

    os.register_at_fork(after_in_child=in_child)


def _opened(
    store: Any,
    namespace: str,
    credentials: Credentials | None,
    problems: Sequence[Problem],
    *,
    keeps_places: bool,
) -> StateStore:
    """The store, unless there are problems; its own are told together with the others."""
    opened: StateStore = store
    try:
        if not isinstance(store, StateStore):
            opened = open_store(store, namespace, credentials=credentials)
        if keeps_places:
            problems = [*problems, *place_problems(opened)]
    except ConfigurationError as error:
        problems = [*problems, *error.problems]
    if problems:
        raise ConfigurationError(problems)
    return opened


def _credentials_problems(credentials: object) -> list[Problem]:
    if credentials is None:
        return []
    hint = "a function that returns user and password"
    return validate.callable_problems(credentials, "credentials", hint)


def _observer(telemetry: Observer | bool | None, engine: Engine) -> Observer | None:
    if telemetry is False:
        return None
    if telemetry is None or telemetry is True:
        telemetry = Telemetry()
    telemetry.watch(engine)
    return telemetry


def _snapshot_problems(path: object) -> list[Problem]:
    if path is None:
        return []
    if not isinstance(path, (str, Path)):
        wrong = f"is {type(path).__name__}, not a path"
        return [Problem("snapshot_path", wrong, 'such as "/var/lib/shop"')]
    directory = Path(path)
    try:
        there, within = directory.exists(), directory.absolute().parent
        wrong = "" if within.is_dir() else f"there is no directory {within}"
    except OSError as error:  # too long, or behind a door that is closed to us
        return [Problem("snapshot_path", f"{path}: {error.strerror}", "name another one")]
    if there and not directory.is_dir():
        wrong = f"{path} is no directory"
    return [Problem("snapshot_path", wrong, "name a directory in one that exists")] if wrong else []
