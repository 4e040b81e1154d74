"""Waiting for the end of a rollout, for pipelines: ``start --wait``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from canary_middleware import verbs
from canary_middleware.cli.connection import Connection
from canary_middleware.cli.show import print_json_line, say
from canary_middleware.core.duration import format_duration
from canary_middleware.core.records import Audit
from canary_middleware.core.state import EVERYTHING, Document, Entry, Phase, Verb
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import StoreError
from canary_middleware.overview import shapes
from canary_middleware.overview.scene import ENDED
from canary_middleware.overview.wording import instant, shown, told_of
from canary_middleware.stores import StateStore

PROMOTED: Final = 0
NOT_PROMOTED: Final = 1
UNDER_WAY: Final = 5
INTERRUPTED: Final = 130
"""128 + SIGINT, as shells have it."""
_EVERY: Final = 0.5
_ON_WITH: Final = {
    Verb.AWAIT.value: Verb.APPROVE,
    **{verb.value: Verb.RESUME for verb in (Verb.PAUSE, Verb.PRECAUTION, Verb.SETTLE)},
}
"""What a person does after what stops a ramp."""
_LINES: Final = 50
"""Of history, at each look."""


def follow(
    connection: Connection, rollout: str, release: str, since: Document, timeout: int | None
) -> int:
    """Print what happens to a release until it has ended.

    Args:
        connection: to the store; while it is away nothing is known, and waiting goes on.
        rollout: its name.
        release: its canary label.
        since: the state after its start.
        timeout: seconds; ``None`` waits for as long as it takes.

    Returns:
        The exit code: see docs/cli.md.
    """
    until = None if timeout is None else time.monotonic() + timeout
    with connection.store() as store:
        following = _Following(store, connection, rollout, release, since)
        try:
            while not following.ended:
                if until is not None and time.monotonic() >= until:
                    return following.late(timeout or 0)
                time.sleep(_EVERY)
                following.look()
        except KeyboardInterrupt:
            return following.left()
    return following.code


class _Following:
    """What was printed and where the release stands."""

    def __init__(
        self, store: StateStore, connection: Connection, rollout: str, release: str, since: Document
    ) -> None:
        self._store, self._json = store, connection.as_json
        self._rollout, self._release = rollout, release
        self._document, self._told = since, since.revision
        self._lost: StoreError | None = None

    def look(self) -> None:
        """Print what is new; a store that is away is told once."""
        try:
            loaded = self._store.load()
            if loaded.corrupt is not None:
                raise loaded.corrupt
            lines = verbs.history(self._store, None, _LINES)
        except StoreError as error:
            if self._lost is None:
                away = f"the store does not answer, still waiting: {shown(str(error))}"
                say(f"canary: {away}", err=True)
            self._lost = error
            return
        self._lost = None
        for line in self._new(lines):
            self._print(line)
        self._document = loaded.document or self._document

    def _new(self, lines: list[Audit]) -> Iterator[Audit]:
        for line in reversed(lines):
            if line.scope in (self._rollout, EVERYTHING) and line.revision > self._told:
                self._told = line.revision
                yield line

    def _print(self, line: Audit) -> None:
        if self._json:
            print_json_line(shapes.audit(line))
            return
        why = told_of(line)
        change = f"{line.old} -> {line.new}" if line.old else line.new
        text = f"{instant(line.at)[11:]}  {line.action}  {change}"
        say(shown(f"{text}: {why}" if why else text))
        if line.action in _ON_WITH:
            say(f"  waits for: canary {_ON_WITH[line.action].value} {self._rollout}")

    @property
    def _entry(self) -> Entry | None:
        return self._document.entry(self._rollout, self._release)

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        killed = self._document.killed(self._rollout) is not None
        return killed or self._entry is None or self._entry.phase in ENDED

    @property
    def code(self) -> int:
        """Of an end."""
        killed = self._document.killed(self._rollout)
        entry = self._entry
        promoted = entry is not None and entry.phase in (Phase.PROMOTED, Phase.FINISHED)
        self._result("killed" if killed else entry.phase.value if entry else "gone")
        return PROMOTED if promoted and not killed else NOT_PROMOTED

    def late(self, timeout: int) -> int:
        """Say that the time is over."""
        self._result("under way")
        say(f"canary: {self._where()} after {format_duration(timeout)}; it goes on", err=True)
        if self._lost is not None:
            raise self._lost
        return UNDER_WAY

    def left(self) -> int:
        """Say that nobody stopped it."""
        stop = f"`canary rollback {self._rollout}` ends it"
        say(f"canary: {self._where()}, and goes on without this command; {stop}", err=True)
        return INTERRUPTED

    def _where(self) -> str:
        entry = self._entry
        if entry is None:
            return f"{self._rollout}: {self._release} is gone"
        phase = entry.phase.value.replace("_", " ")
        return f"{self._rollout}: {self._release} is {phase} at {format_weight(entry.weight)}"

    def _result(self, word: str) -> None:
        if self._json:
            entry = self._entry
            change = shapes.change(self._document, self._rollout, entry) if entry else {}
            print_json_line({**change, "result": word.replace(" ", "_")})
        else:
            say(f"{self._rollout} {self._release}: {word.replace('_', ' ')}")
