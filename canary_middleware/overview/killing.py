"""What a kill does, what it did, and what became of one that was not confirmed."""

from __future__ import annotations

import difflib
import socket
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.snapshot import SERVING
from canary_middleware.core.state import ACTIVE, EVERYTHING, Document, Entry
from canary_middleware.core.status import silence
from canary_middleware.overview.wording import shown
from canary_middleware.stores.protocol import REPORT_LIFE

NOTHING_WRITTEN: Final = "nothing was written, so nothing was killed"
_NEVER_SENT: Final = (ConnectionRefusedError, FileNotFoundError, socket.gaierror)
"""What ends a connection before it is one; after anything else a command may have arrived."""
_UNHEARD: Final = frozenset({"AuthenticationError", "BusyLoadingError", "NoPermissionError"})
"""redis-py's names of what a server answers before it runs anything; redis-py is an extra."""
_REFUSED: Final = ("DB index is out of range", "Protocol error: unauthenticated")

Hit = tuple[str, Entry]
"""A rollout and the release of it that a kill moves."""


def struck_by(document: Document | None, scope: str) -> list[Hit]:
    """What a kill of this scope takes off the canary."""
    return [
        (name, entry)
        for name, state in sorted(document.rollouts.items() if document else ())
        if scope in (EVERYTHING, name)
        for entry in state.entries.values()
        if entry.phase in ACTIVE or entry.phase in SERVING
    ]


def current_of(document: Document, scope: str) -> Iterator[Hit]:
    """The current releases in a scope."""
    for name, state in sorted(document.rollouts.items()):
        if scope in (EVERYTHING, name) and state.current:
            yield name, state.entries[state.current]


def fate(error: BaseException) -> str:
    """What became of a kill that was not confirmed, as far as it can be known."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error):
            return NOTHING_WRITTEN
        if isinstance(cause, _NEVER_SENT):
            return "there was no connection, so nothing was killed"
        if _is_refusal(cause):
            return "the server refused it, so nothing was killed"
        cause = cause.__cause__ or cause.__context__
    return "whether it arrived is unknown: look at `canary status`, or kill again"


def _is_refusal(cause: BaseException) -> bool:
    # What our script meets while it runs may come after the kill.
    named = type(cause).__name__ in _UNHEARD and "script" not in str(cause)
    return named or str(cause).startswith(_REFUSED)


def warnings(
    namespace: str, scope: str, struck: Document, reports: Sequence[ProcessReport] | None
) -> Iterator[str]:
    """What whoever killed should know.

    Args:
        namespace: where.
        scope: what was killed.
        struck: the state after it.
        reports: who lives; ``None`` if that cannot be told now.
    """
    if scope not in struck.kills:
        yield "the state was unreadable, so everything was killed instead"
        return
    if reports is None:
        return
    declared = {name for report in reports for name in report.plans}
    known = sorted({*struck.rollouts, *declared})
    if scope != EVERYTHING and scope not in known:
        names = ", ".join(map(shown, known)) or "none"
        near = difflib.get_close_matches(scope, known, 1)
        meant = f"; did you mean {shown(near[0])}?" if near else ""
        yield f"nobody knows a rollout {scope} (known: {names}){meant}"
    for name, entry in current_of(struck, scope):
        if silent := silence(reports, name, entry.stable):
            yield shown(f"{name}: {silent}")
    if not reports:
        yield (
            f"no process has reported in namespace {namespace} in the last {REPORT_LIFE:g} s; is "
            "the namespace right?"
        )
