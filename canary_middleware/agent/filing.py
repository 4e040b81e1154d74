"""Writes into history that a kill file of this host was found, or is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from canary_middleware.agent.troubles import Attempts
from canary_middleware.core.codec import printable
from canary_middleware.core.records import Audit
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.stores.protocol import StateStore

ACTION: Final = "kill-file"
"""It is no kill: it holds on one host, and no verb lifts it."""
LOOK_BACK: Final = 1_000
"""Lines of history in which the last word on the file is sought."""


class Filing:
    """One line per file and change, however many processes of a host see it.

    Whoever comes second finds the line of the first, or loses the race against it and looks again.

    Args:
        store: the shared state.
        host: of this process.
        file: its kill file, for people.
        name: of this process, for the audit trail.
        wall: wall-clock seconds.
        attempts: asks the store.
        followed: the state that this process follows now.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        host: str,
        file: str,
        name: str,
        wall: Callable[[], float],
        attempts: Attempts,
        followed: Callable[[], Document | None],
    ) -> None:
        self._store = store
        self._name = name
        self._wall = wall
        self._attempts = attempts
        self._followed = followed
        where = f"{host}: {printable(file, 300)}"
        self._words = {True: f"found on {where}", False: f"gone from {where}"}
        self._written: bool | None = None

    def turn(self, reason: str | None) -> None:
        """History says what the disk says; ``reason`` is the text of the file, or ``None``."""
        there = reason is not None
        if there != self._written and self._followed() is not None:
            self._attempts.make(lambda: self._settle(reason))

    def _settle(self, reason: str | None) -> None:
        there = reason is not None
        loaded = self._store.load()
        before = loaded.document
        if before is None or before != self._followed():
            return  # what is newer, or lost, comes first: no line must overwrite it
        if self._last(self._store.history(EVERYTHING, LOOK_BACK)) == there:
            self._written = there
            return
        # History is only written together with a change of the state: here of its revision alone.
        after = replace(before, revision=before.revision + 1)
        line = Audit(
            at=self._wall(),
            by=self._name,
            action=ACTION,
            scope=EVERYTHING,
            old="",
            new=self._words[there],
            why=reason or "",
            revision=after.revision,
        )
        if self._store.swap(before.key, after, line):
            self._written = there

    def _last(self, lines: Sequence[Audit]) -> bool:
        """Whether the file was there by the last word on it, the lines being newest first."""
        said = (line.new for line in lines if line.action == ACTION)
        return (
            next((word for word in said if word in self._words.values()), "") == self._words[True]
        )
