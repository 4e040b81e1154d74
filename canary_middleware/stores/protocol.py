"""What a store is asked. Questions, not commands; callers take only the part that they use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, runtime_checkable

from canary_middleware.core.claims import Ask, Claim
from canary_middleware.core.model import Cohort
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import Document
from canary_middleware.errors import StoreCorruptError

REPORT_LIFE: Final = 15.0
"""Seconds after which a silent process counts as gone."""
SILENT_LIFE: Final = 300.0
"""Seconds for which its last report is kept all the same: ``canary doctor`` asks what became of it.
"""

Key = tuple[str, int]
"""Lineage and revision, what a compare-and-swap compares."""

Credentials = Callable[[], tuple[str, str]]
"""Returns the present user and password; asked for each new connection, in any thread."""


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


class Forgotten(NamedTuple):
    """A push: somebody revoked claims, so that nobody may remember them.

    Attributes:
        rollout: whose.
        keys: which; empty for all of them.
    """

    rollout: str
    keys: tuple[str, ...] = ()


class Subscription(Protocol):
    """Pushed control states and revoked claims, for as long as it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def receive(self, timeout: float) -> Document | Forgotten | None:
        """The next push, or ``None`` after at most ``timeout`` seconds.

        Raises:
            StoreCorruptError: the push is no control state, or asks to look at the store; go on.
            StoreUnavailableError: the connection is lost; subscribe again.
        """


@runtime_checkable
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


@runtime_checkable
class Remembering(Protocol):
    """A store that can say who has fallen silent without a word."""

    def lately(self) -> list[ProcessReport]:
        """Last reports of those who lived in the last :data:`SILENT_LIFE` seconds.

        Those who live are among them, those who took their leave are not.
        """


class Listed(NamedTuple):
    """A claim as operators see it.

    Attributes:
        key: keyed hash of the subject.
        claim: what it says.
        left: seconds until it is forgotten.
    """

    key: str
    claim: Claim
    left: float


@runtime_checkable
class Affinity(Protocol):
    """Claims of subjects, shared by all processes. Blocking.

    Every method raises ``StoreUnavailableError`` when the store does not do what it is asked.
    """

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """The winners, in the order of the questions, in one round trip.

        Each one as :func:`canary_middleware.core.claims.contend` says, atomically, whatever other
        processes ask meanwhile. What is written lives for ``Ask.life`` from now on; so does what
        was found, as it was just seen.
        """

    def touch(self, rollout: str, keys: Sequence[str], life: int) -> Sequence[str]:
        """These were seen lately: those that exist live for ``life`` milliseconds from now on.

        Returns:
            Those that do not exist: the store has lost them, and who remembers them may bring them
            back.
        """

    def claims(self, rollout: str) -> Iterator[Listed]:
        """All claims of a rollout, in no order; one that comes or goes meanwhile may be missing."""

    def look(self, rollout: str, keys: Iterable[str]) -> list[Listed]:
        """Those of these claims that there are, each once, in no order; none lives on by it."""

    def forget(self, rollout: str, keys: Iterable[str] | None) -> int:
        """Delete these claims (``None``: all of the rollout), and push that to whoever listens.

        Returns:
            How many there were.
        """


class Lease(Protocol):
    """Who alone may do something. Time is the store's own, so that processes need no common clock.

    Each name is a lease of its own: ``""`` is that of who advances ramps, ``"series"`` of who
    writes points of charts, ``"alerts:..."`` of who tells one webhook.
    """

    def hold(self, owner: str, seconds: float, of: str = "") -> bool:
        """Take the lease or renew one's own, for so many seconds; whether ``owner`` has it now."""

    def release(self, owner: str, of: str = "") -> None:
        """Give it back; nothing happens if somebody else holds it."""


class Totals(NamedTuple):
    """What one process has counted of one release since it began.

    Attributes:
        boot: random id of that process; a process that was folded takes a new one.
        data: cumulative, so that writing it twice changes nothing.
        age: seconds since it was written, by the clock of the store.
    """

    boot: str
    data: bytes
    age: float


class TotalsStore(Protocol):
    """Cumulative totals of all processes, per rollout and release."""

    def put(self, rollout: str, release: str, boot: str, data: bytes) -> bool:
        """Replace the totals of ``boot``.

        Returns:
            ``False`` if they were folded into others: the process goes on under a new id, from 0.
        """

    def read(self, rollout: str, release: str) -> list[Totals]:
        """Those of all processes, the folded ones under the id ``""``."""

    def fold(
        self, rollout: str, release: str, folded: bytes, boots: Mapping[str, bytes], old: bytes
    ) -> bool:
        """Replace the totals of silent processes by one sum, and refuse their later writes.

        Args:
            rollout: its name.
            release: its canary label.
            folded: what shall stand under ``""``.
            boots: the totals that are in it, as they were read.
            old: what stood under ``""`` (``b""`` for nothing).

        Returns:
            ``False`` if any of it is not as it was read, and nothing was done.
        """


class First(NamedTuple):
    """An event of a visitor that counts once in a run, if it is the first of its kind.

    Attributes:
        kind: name of the guard that watches for it, of at most 64 characters ``A-Za-z0-9_-``.
        visitor: keyed hash, uniform below 2**53.
        period: revision since which the weight is what it was when the event happened.
        cohort: who served it.
    """

    kind: str
    visitor: int
    period: int
    cohort: Cohort


class Entered(NamedTuple):
    """A visitor who was seen for the first time in a period, as far as one process knows.

    Attributes:
        visitor: keyed hash, below 2**53.
        period: revision since which the weight is what it was.
    """

    visitor: int
    period: int


@runtime_checkable
class Firsts(Protocol):
    """Visitors that failed, each counted once per kind and run by whoever saw it first.

    Per kind those visitors are watched whose hash is below a limit, everybody at first. When
    4,096 of them had the event, the limit is halved and those at or above it are forgotten; what
    was counted stays. So the limit follows from how many events there were, never from who served
    them. At most 32 kinds are kept per run; events of others are ignored. All of a run is deleted
    90 days after its last event.
    """

    def first(self, rollout: str, release: str, run: int, events: Sequence[First]) -> None:
        """Count those that are the first of their visitor and kind, in their order.

        At most 500 events are one round trip and one atomic step; what is longer takes several.
        Repeating it changes nothing.

        Raises:
            StoreError: an event is none, and nothing was counted.
        """

    def firsts(self, rollout: str, release: str, run: int) -> Mapping[tuple[str, int, Cohort], int]:
        """The counts by kind, period and cohort; empty for a run that nobody knows."""

    def enter(
        self, rollout: str, release: str, run: int, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        """Which of these visitors nobody else has told of in that period, in their order.

        At most 500 are one round trip and one atomic step. At least the last 16,384 entries of a
        run are remembered, for a week: what comes twice comes within a moment, as the parallel
        requests of one page do.

        Args:
            rollout: its name.
            release: canary label.
            run: revision of its start.
            batch: random, of 1 to 32 characters ``0-9a-f``; asking again under the same one has
                the same answer, so that an answer that was lost loses nobody.
            entries: each visitor and period once.

        Raises:
            StoreError: an entry is none, and nothing was told.
        """


@runtime_checkable
class SeriesStore(Protocol):
    """Points of charts: per rollout one in a slot of time, the newest 8,640 of them.

    All of a rollout is deleted 30 days after its last point.
    """

    def append(self, rollout: str, slot: int, data: bytes) -> None:
        """Keep a point; of two in one slot the last one stays.

        Args:
            rollout: its name.
            slot: from 1 to 2**53 - 1; seconds since the epoch by ten, by the clock of the writer.
            data: 16 KiB at most.

        Raises:
            StoreError: slot or data is none, and nothing was written.
        """

    def series(self, rollout: str, since: int = 0) -> list[tuple[int, bytes]]:
        """The points after the slot ``since``, in their order.

        The oldest are left out where all together would have more than 16 MiB.
        """


@runtime_checkable
class Outbox(Protocol):
    """How far those who tell others of what happened have come, per name.

    A cursor is deleted a year after it was last advanced.
    """

    def cursor(self, hook: str) -> str | None:
        """Where this one is; ``None`` if it never began."""

    def advance(self, hook: str, before: str | None, after: str) -> bool:
        """Put it elsewhere, if it still is where it was.

        Args:
            hook: 1 to 200 characters.
            before: as it was read; ``None`` means there must be none.
            after: where it shall be: 1 to 1,000 bytes of UTF-8 that mean nothing to the store.

        Returns:
            Whether it was; ``False`` if somebody else was faster.

        Raises:
            StoreError: a text is empty or too long, and nothing was written.
        """
