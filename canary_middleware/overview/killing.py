"""What a kill does, what it did, and what became of one that was not confirmed."""

from __future__ import annotations

import difflib
import socket
import sqlite3
from collections.abc import Collection, Container, Iterator, Sequence
from typing import Final

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.snapshot import SERVING
from canary_middleware.core.state import ACTIVE, EVERYTHING, Document, Entry, Phase, RolloutState
from canary_middleware.core.status import silence
from canary_middleware.core.weight import format_weight
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview.wording import shown
from canary_middleware.stores.protocol import REPORT_LIFE

NOTHING_WRITTEN: Final = "nothing was written, so nothing was killed"
UNMOVED: Final = "nobody was moved"
UNKNOWN: Final = "no process declares a rollout of this name, and none was ever started"
_NEVER_SENT: Final = (ConnectionRefusedError, FileNotFoundError, socket.gaierror)
"""What ends a connection before it is one; after anything else a command may have arrived."""
_UNHEARD: Final = frozenset({"AuthenticationError", "BusyLoadingError", "NoPermissionError"})
"""redis-py's names of what a server answers before it runs anything; redis-py is an extra."""
_REFUSED: Final = ("DB index is out of range", "Protocol error: unauthenticated")

Hit = tuple[str, Entry]
"""A rollout and the release of it that a kill moves."""


def struck_by(
    document: Document | None, scope: str, reports: Sequence[ProcessReport] | None = None
) -> list[Hit]:
    """What a kill of this scope takes off the canary.

    A release that has had its successor is nobody's any more where processes report and none
    declares it; without any report it counts, for who can tell.
    """
    return [
        (name, entry)
        for name, state in sorted(document.rollouts.items() if document else ())
        if scope in (EVERYTHING, name)
        for entry in state.entries.values()
        if entry.phase in ACTIVE or (entry.phase in SERVING and _had(name, state, entry, reports))
    ]


def _had(
    name: str, state: RolloutState, entry: Entry, reports: Sequence[ProcessReport] | None
) -> bool:
    return entry.release == state.current or declares(reports, name, entry)


def declares(reports: Sequence[ProcessReport] | None, rollout: str, entry: Entry) -> bool:
    """Whether a process has this release; all may be had while no process reports."""
    plans = [report.plans[rollout] for report in reports or () if rollout in report.plans]
    return not reports or any(plan.canary == entry.release for plan in plans)


def knows(
    document: Document | None, reports: Sequence[ProcessReport] | None, scope: str
) -> bool | None:
    """Whether there is anything of this name; ``None`` where the processes cannot be asked."""
    if scope == EVERYTHING or (document is not None and scope in document.rollouts):
        return True
    return None if reports is None else any(scope in report.plans for report in reports)


def astray(
    document: Document | None, kills: Container[str], known: Collection[str], scope: str
) -> str:
    """Whom the kill of a name that nobody knows has left where they were, and what may be meant.

    Args:
        document: the state.
        kills: scopes that are killed.
        known: every name of a rollout.
        scope: that is killed, and no such name.
    """
    still = [
        (name, entry)
        for name, entry in struck_by(document, EVERYTHING)
        if entry.phase is not Phase.FINISHED and name not in kills and EVERYTHING not in kills
    ]
    at = ", ".join(f"{name} at {format_weight(entry.weight)}" for name, entry in still)
    names = {name for name, _ in still}
    near = difflib.get_close_matches(scope, sorted(known), 1) or (names if len(names) == 1 else ())
    meant = "".join(f"perhaps meant: canary kill {name}" for name in near)
    return shown("; ".join(filter(None, (f"still on a canary: {at}" if at else "", meant))))


def kill_files(namespace: str, reports: Sequence[ProcessReport]) -> Iterator[str]:
    """What no revival lifts, a sentence for each host."""
    for host in sorted({one.host for one in reports if one.kill_file is not None}):
        yield shown(f"host {host} stays killed by its kill file {_removed(namespace)}")


def beside_files(
    namespace: str, reports: Sequence[ProcessReport], error: VerbRefusedError
) -> VerbRefusedError:
    """The refusal of a revival, with the kill files that it does not tell of."""
    files = tuple(kill_files(namespace, reports))
    if not files:
        return error
    message = str(error).removesuffix(f" ({error.hint})") if error.hint else str(error)
    hint = "; ".join(filter(None, (error.hint, *files)))
    return VerbRefusedError(message, rollout=error.rollout, hint=hint)


def _removed(namespace: str) -> str:
    return f"{namespace}.kill in its snapshot_path: remove it there"


def current_of(document: Document, scope: str) -> Iterator[Hit]:
    """The current releases in a scope."""
    for name, state in sorted(document.rollouts.items()):
        if scope in (EVERYTHING, name) and state.current:
            yield name, state.entries[state.current]


def without_store(namespace: str) -> str:
    """What kills while the store is away, in one line."""
    return (
        f"write the reason into <snapshot_path>/{namespace}.kill on each host; running releases go "
        "to stable by themselves max_staleness (60 s by default) after the store was lost"
    )


def fate(error: BaseException, namespace: str) -> str:
    """What became of a kill that was not confirmed, as far as it can be known, and what to do."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, sqlite3.Error):
            return NOTHING_WRITTEN
        if isinstance(cause, _NEVER_SENT):
            nothing = "there was no connection, so nothing was killed"
            return f"{nothing}; {without_store(namespace)}"
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
