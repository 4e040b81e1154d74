"""A site under test: one neutral application behind the middleware of one interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Self
from wsgiref.validate import validator

from canary_middleware import Cohort, Rollout, asgi, wsgi
from canary_middleware.core.active import active_visit
from canary_middleware.core.bucket import ANONYMOUS, draw, lane_key, threshold
from canary_middleware.core.cookie import Cookie, write
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Verb
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.transitions import Command, apply
from canary_middleware.core.weight import parse_weight
from tests.scenarios import asgi_driver, wsgi_driver
from tests.scenarios.facade import KEY, events, facade, kill, outcomes
from tests.scenarios.words import Ask, Handler, Reply

OLD_KEY = "o" * 32
NOW = 1_800_000_000.0
NAME = "__Host-canary-shop"


class Interface(Enum):
    """The ways in which a handler can be called; in the last one it starts at its first item."""

    ASGI = "asgi"
    WSGI = "wsgi"
    WSGI_LAZY = "wsgi-lazy"


Wrap = Callable[[Any], Any]


class Site:
    """The usual shop: rollout ``checkout`` of version 2 over version 1, covering every path.

    Args:
        interface: how it is served.
        app: the wrapped application.
        weight: at which the rollout stands; ``None``: not started.
        rollout: arguments of the rollout.
        canary: arguments of the facade.
        target: the canary's own application.
        more: further rollouts.
        wrap: put around the middleware; for broken variants.
        bare: leave the middleware out.
    """

    def __init__(
        self,
        interface: Interface,
        app: Handler,
        *,
        weight: str | None = "100%",
        rollout: Mapping[str, Any] | None = None,
        canary: Mapping[str, Any] | None = None,
        target: Handler | None = None,
        more: Sequence[Rollout] = (),
        wrap: Wrap = lambda app: app,
        bare: bool = False,
    ) -> None:
        self.interface = interface
        self.log: list[str] = []
        self.jar: dict[str, str] = {}
        self.time = NOW
        self.weight = weight
        settings = {"wall": lambda: self.time, **(canary or {})}
        self.canary = facade(weight, settings, more, **(rollout or {}))
        self.engine = self.canary.engine
        self._secret = settings.get("bucket_secret") or ""
        self._runner = asyncio.Runner()
        targets = {"checkout": self._adapted(target)} if target else {}
        self._app = self._adapted(app)
        if not bare:
            self._app = wrap(self._covered(self._app, targets))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        self._runner.close()
        self.canary.stop()

    def _adapted(self, handler: Handler) -> Any:
        run = asgi_driver.bound(handler, self)
        if self.interface is Interface.ASGI:
            return asgi_driver.as_asgi(run)
        return validator(wsgi_driver.as_wsgi(run, lazy=self.interface is Interface.WSGI_LAZY))

    def _covered(self, app: Any, targets: Mapping[str, Any]) -> Any:
        if self.interface is Interface.ASGI:
            return asgi.CanaryMiddleware(app, self.canary, targets)
        return validator(wsgi.CanaryMiddleware(app, self.canary, targets))

    # --- visitors -------------------------------------------------------------------------------

    def ask(self, ask: Ask) -> Reply:
        """One request; checks that nothing of it is left behind."""
        if ask.before is not None:
            ask.before(self)
        headers = [("cookie", line) for line in self._cookies(ask)]
        reply = self._exchange(ask, headers)
        for line in reply.all("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.jar[name] = value
        assert not self.engine.recorder.running, "a visit goes on after its end"
        assert active_visit.get() is None, "the context of a request leaked"
        return reply

    def _exchange(self, ask: Ask, headers: list[tuple[str, str]]) -> Reply:
        if self.interface is Interface.ASGI:
            scope = asgi_driver.http_scope(ask, headers)
            return self._runner.run(asgi_driver.exchange(self._app, scope, ask.body, self.arrived))
        environ = wsgi_driver.http_environ(ask, headers)
        return wsgi_driver.exchange(self._app, environ, self.arrived)

    def _cookies(self, ask: Ask) -> list[str]:
        if ask.who is not None:
            return [f"{NAME}={self.cookie(ask.who)}"]
        if ask.jar and self.jar:
            return ["; ".join(f"{name}={value}" for name, value in self.jar.items())]
        return []

    def cookie(self, cohort: Cohort, *, key: str = KEY, age: float = 0) -> str:
        """The cookie of a visitor whom this weight puts on that cohort.

        Args:
            cohort: where the visitor has to land.
            key: signs it.
            age: seconds since it was issued.
        """
        codec = TokenCodec([key.encode()], "shop", "visitor")
        return write(codec, Cookie(self.subject(cohort), int(self.time - age)))

    def subject(self, cohort: Cohort) -> str:
        """The id of such a visitor."""
        limit = threshold(parse_weight(self.weight or "50%"))
        lane = lane_key(self._secret.encode(), "shop", "checkout", "2")
        wanted = cohort is Cohort.CANARY
        return next(
            subject
            for subject in (f"visitor-{n:08}" for n in range(10_000))
            if (draw(lane, ANONYMOUS, subject) < limit) is wanted
        )

    # --- what happens meanwhile -----------------------------------------------------------------

    def produced(self, chunk: bytes) -> bytes:
        """Note that the application made a chunk."""
        self.log.append(f"made {chunk.decode()}")
        return chunk

    def arrived(self, chunk: bytes) -> None:
        """Note that the server got it."""
        self.log.append(f"got {chunk.decode(errors='replace')}")

    def kill(self, rollout: str = "checkout") -> None:
        """The kill switch, as an agent hears of it."""
        kill(self.canary, rollout)

    def verb(self, verb: Verb, **arguments: Any) -> None:
        """Any other change of the control state."""
        before = self.canary.store.load().document
        assert before is not None
        after = apply(before, Command(verb, "checkout", **arguments), self.time)
        audit = Audit(self.time, "test", verb.value, "checkout", "", "", "", after.revision)
        assert self.canary.store.swap(before.key, after, audit)

    # --- what was counted -----------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Every outcome, as ``cohort class``."""
        return outcomes(self.canary)

    def events(self) -> dict[str, int]:
        """Every rare event."""
        return events(self.canary)
