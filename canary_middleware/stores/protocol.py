"""What a store is asked. Questions, not commands; callers take only the part that they use."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import Document
from canary_middleware.errors import StoreCorruptError

REPORT_LIFE: Final = 15.0
"""Seconds after which a silent process is forgotten."""

Key = tuple[str, int]
"""Lineage and revision, what a compare-and-swap compares."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one look at the store told.

    Attributes:
        document: the control state; ``None`` when there is none.
        kill_key: the reason in the plain kill key, ``None`` when there is no such key. Its
            presence is a kill of everything.
        corrupt: why what is there is no control state; ``document`` is ``None`` then.
    """

    document: Document | None
    kill_key: str | None = None
    corrupt: StoreCorruptError | None = None


class Subscription(Protocol):
    """Pushed control states, for as long as it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def receive(self, timeout: float) -> Document | None:
        """The next push, or ``None`` after at most ``timeout`` seconds.

        Raises:
            StoreCorruptError: the push is no control state, or asks to look at the store; go on.
            StoreUnavailableError: the connection is lost; subscribe again.
        """


class StateStore(Protocol):
    """The shared control state. Blocking; used by agents and verbs, never on the request path.

    Every method raises ``StoreUnavailableError`` when the store does not do what it is asked.
    """

    def load(self) -> Loaded:
        """Everything that a process follows, in one round trip."""

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        """Write ``new`` with its audit entry and push it, if the store still is as expected.

        Args:
            expected: key of the document that was loaded; ``None`` means there must be none.
            new: what to write, kills included.
            audit: its line of history.
            clears: delete the plain kill key, which must still read so; ``None`` leaves it alone.

        Returns:
            Whether it was written.
        """

    def kill(self, scope: str, *, by: str, why: str, now: float) -> Document:
        """Strike a kill, whatever the state is, and push it; with no document it creates one.

        Where the present state is unreadable the plain kill key is set instead, which kills
        everything.

        Raises:
            NotPersistedError: it was pushed to all who listen, but could not be written.
        """

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        """The latest lines of history, newest first; of one scope or of all."""

    def listen(self) -> Subscription:
        """Subscribe when entered."""

    def report(self, report: ProcessReport) -> None:
        """Say that this process lives; forgotten after :data:`REPORT_LIFE` seconds."""

    def processes(self) -> list[ProcessReport]:
        """Who lives."""

    def withdraw(self, process_id: str) -> None:
        """Forget a process that ends."""

    def close(self) -> None:
        """Close the connections that the store opened; the next question opens new ones."""
