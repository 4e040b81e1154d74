"""The site that the workers of these tests serve: what it is made of, and what its pages say.

Two applications, ``/shop`` and ``/blog``, each with its own rollout, namespace and cookie, in one
process and on one host. Every answer says in its body which version gave it, why, in which process,
and when it was dispatched; ``/plain`` belongs to no rollout.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from canary_middleware import Audience, Canary, Rescue, Rollout
from canary_middleware.engine.views import RequestView
from canary_middleware.outbound import outbound_headers
from tests.system import variants

KEY = "the-first-key-of-these-tests-is-long-enough"
BUCKET_SECRET = "the-bucket-secret-of-these-tests-is-long-enough"
STABLE, CANARY = "1.0", "2.0"
TESTER = "tester@example.com"
TESTERS, NOBODY = Audience(subjects=[TESTER]), Audience()
VARIABLE = "CANARY_TEST_SITE"


@dataclass(frozen=True)
class Setup:
    """What differs between workers; travels as JSON in an environment variable.

    Attributes:
        store: URL.
        credentials: file with user and password for the store, or ``None``.
        namespace: of the shop; that of the blog ends with ``-blog``.
        apps: which are served.
        plans: what their rollouts say beyond the default, by application.
        keys: oldest first.
        identified: whether ``identify`` reads the header ``X-User``.
        anyhow: and, where there is none, an API key or a session id.
        overrides: ways of carrying override tokens.
        budget: seconds that a request may wait for a claim.
        max_staleness: seconds.
        kill_grace: seconds.
        drain: seconds.
        snapshot_path: directory or ``None``.
        heard: file that gets a line with the monotonic time whenever this process heard of a kill.
        orders: file that gets a line whenever an order is executed.
        busy: burn a core in a thread.
        secure: as in ``Canary``.
        wall_shift: seconds by which the wall clock is wrong.
        target: the canary is an application of its own, whose start fails.
        otlp: URL of a receiver for spans and metrics.
        loud: log everything.
        variant: a deliberately broken one, see :mod:`tests.system.variants`.
    """

    store: str
    namespace: str
    apps: tuple[str, ...] = ("shop",)
    plans: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    keys: tuple[str, ...] = (KEY,)
    identified: bool = False
    anyhow: bool = False
    overrides: tuple[str, ...] = ()
    budget: float = 0.02
    max_staleness: float | None = 60.0
    kill_grace: float = 5.0
    drain: float = 600.0
    snapshot_path: str | None = None
    heard: str | None = None
    orders: str | None = None
    busy: bool = False
    secure: bool = False
    wall_shift: float = 0.0
    target: bool = False
    otlp: str | None = None
    loud: bool = False
    variant: str = ""
    credentials: str | None = None

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> Setup:
        values = json.loads(environ[VARIABLE])
        lists = {name: tuple(values[name]) for name in ("apps", "keys", "overrides")}
        return cls(**{**values, **lists})

    def namespace_of(self, app: str) -> str:
        return self.namespace if app == "shop" else f"{self.namespace}-{app}"

    def rollout(self, app: str) -> Rollout:
        """What this worker declares."""
        made = rollout(app, self.variant, TESTERS if self.identified else NOBODY)
        given: Mapping[str, Any] = self.plans.get(app, {})
        return replace(made, **given)


def rollout(app: str, variant: str = "", testers: Audience = NOBODY) -> Rollout:
    return Rollout(
        app,
        stable=STABLE,
        canary=CANARY,
        paths=(f"/{app}",),
        testers=testers,
        rescue=variants.RESCUES.get(variant, Rescue()),
    )


def who(view: RequestView) -> str | None:
    return view.header("X-User")


def anyhow(view: RequestView) -> str | None:
    return view.header("X-User") or view.header("X-Api-Key") or view.cookie("session")


def canary(setup: Setup, app: str) -> Canary:
    made = Canary(
        setup.rollout(app),
        namespace=setup.namespace_of(app),
        store=setup.store,
        credentials=partial(credentials, setup.credentials) if setup.credentials else None,
        secret_keys=setup.keys,
        identify=(anyhow if setup.anyhow else who) if setup.identified else None,
        overrides=setup.overrides,
        bucket_secret=BUCKET_SECRET if setup.identified else None,
        secure=setup.secure,
        claim_budget=setup.budget,
        max_staleness=setup.max_staleness,
        kill_grace=setup.kill_grace,
        drain=setup.drain,
        snapshot_path=setup.snapshot_path,
        poll=variants.POLLS.get(setup.variant, 0.8),
        wall=lambda: time.time() + setup.wall_shift,
        telemetry=variants.telemetry(setup.variant),
    )
    if setup.heard is not None:
        made.engine.on_kill(partial(append, setup.heard, lambda: repr(time.monotonic())))
    variants.spoil(setup.variant, made, setup.store)
    return made


def credentials(path: str) -> tuple[str, str]:
    """User and password, as somebody has just written them."""
    user, password = Path(path).read_text().split()
    return user, password


def append(path: str, line: Any) -> None:
    """One line in one write, so that lines of several threads and processes never mix."""
    with Path(path).open("ab", buffering=0) as file:
        file.write(f"{line() if callable(line) else line}\n".encode())


def burn() -> None:
    while True:
        sum(range(10_000))


def begin(setup: Setup) -> None:
    """What comes before the application in a process."""
    if setup.loud:
        logging.basicConfig(level=logging.DEBUG)
    if setup.otlp:
        from tests.system.observing import export

        export(setup.otlp)
    if setup.busy:
        threading.Thread(target=burn, daemon=True).start()


@dataclass
class Page:
    """One request on its way: what it asks for, and what it will be told.

    Attributes:
        wait: seconds that the handler takes.
        events: how many server-sent events to send instead of one body.
    """

    body: dict[str, Any]
    wait: float = 0.0
    events: int = 0
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def text(self) -> bytes:
        return json.dumps(self.body).encode()


def page(setup: Setup, path: str, query: str) -> Page:
    """Handle a request: the application's own part, the same for ASGI and WSGI.

    Raises:
        RuntimeError: it was asked to.
    """
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    app = path.split("/")[1]
    body: dict[str, Any] = {"path": path, "pid": os.getpid(), "at": time.monotonic()}
    if app in setup.apps:
        # After "at", so that whoever is dispatched after its process heard of a kill was told so.
        chosen = variants.CHOOSERS.get(setup.variant, variants.current)(app)
        body |= {"app": app, "version": chosen.version, "reason": chosen.reason.value}
        if "raise" in asked:
            raise RuntimeError(f"{chosen.version} fails as asked")
    if "outbound" in asked:
        body["outbound"] = outbound_headers()
    if "order" in asked and setup.orders is not None:
        append(setup.orders, asked["order"])
    return Page(body, float(asked.get("wait", 0)), int(asked.get("events", 0)))
