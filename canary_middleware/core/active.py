"""The one context variable: which visit the running code belongs to.

The truth is the visit in ``scope``/``environ``; this only points at it. It lives in the core
because the application's side (``current``) and telemetry's side (the span processor) both read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from canary_middleware.core.model import Assignment


class ActiveVisit(Protocol):
    """What anybody inside a request may know about it."""

    @property
    def exposed(self) -> Mapping[str, Assignment]:
        """Assignments that mattered so far, by rollout, in the order of exposure."""

    @property
    def rescued(self) -> bool:
        """This is the second run of a request whose canary failed."""

    @property
    def finished(self) -> bool:
        """The outcome is booked."""

    def expose(self, name: str) -> Assignment:
        """The assignment of a rollout, routed now if this is the first time."""

    def observe(self, metric: str, value: float) -> None:
        """Add to a declared metric of the request."""

    def tag(self, span: Any) -> None:
        """Remember a server span that started inside the request."""


active_visit: ContextVar[ActiveVisit | None] = ContextVar("canary_middleware_visit", default=None)
