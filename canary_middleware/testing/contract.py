"""What all contracts share: how to open a store, and documents to put into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Plan, Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.stores.protocol import Forgotten, Subscription

Opener = Callable[[], Any]
"""Opens one more view of one and the same state, as one more process would."""

PLAN: Final = Plan("1", "2", ("/pay",), ("GET",), ("/health",), (1_000, 5_000), "me@example.com")
PATIENCE: Final = 5.0
"""Seconds in which a push has to arrive."""


class Contract:
    """Override the fixture ``opener``; the state behind it must be empty and nobody else's."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Opens a store.

        Raises:
            NotImplementedError: it was not overridden.
        """
        raise NotImplementedError("override the fixture `opener`")

    @pytest.fixture
    def view(self, opener: Opener) -> Iterator[Opener]:
        """Opens as many views as a test wants, and closes them."""
        opened: list[Any] = []

        def open_another() -> Any:
            opened.append(opener())
            return opened[-1]

        yield open_another
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, view: Opener) -> Any:
        """One view."""
        return view()


def started(lineage: str = "ab12") -> Document:
    """A state with one rollout that was started."""
    return apply(Document(lineage), Command(Verb.START, "checkout", "go", plan=PLAN), 5.5)


def audit(document: Document, scope: str = "checkout") -> Audit:
    """A line of history for it."""
    return Audit(5.5, "me", "start", scope, "idle", "ramping", "go", document.revision)


def receive(subscription: Subscription) -> Document | Forgotten:
    """The next push."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        push = subscription.receive(0.1)
        if push is not None:
            return push
    raise AssertionError(f"no push arrived within {PATIENCE:g} s")
