"""A store that changes nothing which somebody else has changed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Verb
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview.wording import shown
from canary_middleware.stores import Loaded, StateStore, Subscription
from canary_middleware.stores.protocol import Key

_LINES: Final = (20, 1_000)
"""How many are read: all that history keeps, where more than a few came since."""
_SILENT: Final = frozenset({Verb.BASELINE.value, Verb.NOTE.value})
"""What the controller learns or says by itself; nobody decides otherwise for it."""


class OutdatedError(VerbRefusedError):
    """Somebody else has changed the rollout since; nothing was done."""


class Unchanged:
    """A store whose ``swap`` refuses when a rollout is no longer as it was seen.

    What happens between its look at the history and the write moves the revision, so that the
    compare-and-swap fails and the verb looks again: no change in between goes unseen.

    Args:
        store: the one that is asked.
        scope: a rollout, or everything.
        seen: revision that whoever asks has seen.
    """

    def __init__(self, store: StateStore, scope: str, seen: int) -> None:
        self._store = store
        self._scope = scope
        self._seen = seen

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        """Write it, unless somebody has been faster.

        Raises:
            OutdatedError: somebody has.
        """
        if (expected[1] if expected else 0) < self._seen:
            raise self._outdated("the state is another one now")
        for scope in dict.fromkeys((self._scope, EVERYTHING)):
            for line in self._since(scope):
                if not _moves_nobody(line):
                    who = f"{shown(line.by)} did `{shown(line.action)}` meanwhile"
                    raise self._outdated(f"{who} ({shown(line.new)})")
        return self._store.swap(expected, new, audit, clears=clears)

    def _since(self, scope: str) -> Iterator[Audit]:
        lines: list[Audit] = []
        for size in _LINES:
            lines = self._store.history(scope, size)
            if len(lines) < size or lines[-1].revision <= self._seen:
                break
        return (line for line in lines if line.revision > self._seen)

    def _outdated(self, message: str) -> OutdatedError:
        everything = self._scope == EVERYTHING
        where = "" if everything else f"{self._scope}: "
        hint = "nothing was done; look again and decide anew"
        return OutdatedError(
            f"{where}{message}", rollout=None if everything else self._scope, hint=hint
        )

    # The rest is that of the store.

    def load(self) -> Loaded:
        """See :class:`StateStore`."""
        return self._store.load()

    def kill(self, scope: str, *, by: str, why: str, now: float) -> Document:
        """See :class:`StateStore`; a kill is never refused."""
        return self._store.kill(scope, by=by, why=why, now=now)

    def history(self, scope: str | None, limit: int) -> list[Audit]:
        """See :class:`StateStore`."""
        return self._store.history(scope, limit)

    def listen(self) -> Subscription:
        """See :class:`StateStore`."""
        return self._store.listen()

    def report(self, report: ProcessReport) -> None:
        """See :class:`StateStore`."""
        self._store.report(report)

    def processes(self) -> list[ProcessReport]:
        """See :class:`StateStore`."""
        return self._store.processes()

    def withdraw(self, process_id: str) -> None:
        """See :class:`StateStore`."""
        self._store.withdraw(process_id)

    def close(self) -> None:
        """See :class:`StateStore`."""
        self._store.close()


def _moves_nobody(line: Audit) -> bool:
    """A note, a baseline, or a release that is held as before, for another reason."""
    held = line.action == Verb.HOLD.value and line.old.partition(",")[0] == line.new
    return held or line.action in _SILENT
