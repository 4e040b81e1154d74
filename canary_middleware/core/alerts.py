"""What a webhook is told of a line of history, and which lines it was not told of yet: pure.

A line has one id, whoever sends it and however often, so that a receiver can drop what came twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from canary_middleware.core.codec import encode_audit
from canary_middleware.core.reading import parse
from canary_middleware.core.records import Audit
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.core.webhook import TEST
from canary_middleware.errors import StoreCorruptError

LIMIT: Final = 86_400.0
"""Seconds for which one event is tried; then it is given up, so that others come through."""
POISON: Final = frozenset({400, 413, 415, 422})
"""Answers that say: not this one. Tried for :data:`POISON_LIMIT` seconds only."""
POISON_LIMIT: Final = 900.0
LEAST: Final = 3
"""Tries of an event, however old it is."""
LONGEST_PAUSE: Final = 300.0
ASKED_PAUSE: Final = 3_600.0
"""Longest pause in seconds that a receiver can ask for."""
_PAUSES: Final = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0)
_CURSOR: Final = 1_000
_TEXT: Final = 1_200


@dataclass(frozen=True, slots=True)
class Position:
    """How far a hook is: the last line of history that needs no more telling.

    Attributes:
        id: of that line; ``""`` where nothing was told yet, and all after ``at`` shall be.
        revision: of that line; -1 likewise.
        at: wall-clock seconds of it.
        lineage: of the control state then.
    """

    id: str
    revision: int
    at: float
    lineage: str

    def text(self) -> str:
        """As the outbox keeps it."""
        plain = {"id": self.id, "revision": self.revision, "at": self.at, "lineage": self.lineage}
        return json.dumps(plain, separators=(",", ":"))


def position(text: str) -> Position:
    """What :meth:`Position.text` wrote.

    Raises:
        StoreCorruptError: it is something else.
    """
    fields = parse(text.encode("utf-8", "replace"), _CURSOR, "cursor").fields(
        "id", "revision", "at", "lineage"
    )
    return Position(
        id=fields["id"].text(empty=True),
        revision=fields["revision"].integer(-1, 2**53 - 1),
        at=fields["at"].seconds(),
        lineage=fields["lineage"].text(empty=True),
    )


def id_of(namespace: str, line: Audit) -> str:
    """The id of a line, the same in every process."""
    content = namespace.encode() + b"\n" + encode_audit(line)
    return f"evt_{hashlib.sha256(content).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Pending:
    """Lines that were not told yet.

    Attributes:
        lines: oldest first.
        missed: how many may have been dropped from history before anybody could tell them.
        whole: the place to go on from was found, or all there was has been looked at.
    """

    lines: tuple[Audit, ...]
    missed: int = 0
    whole: bool = True


def pending(
    namespace: str, lines: Sequence[Audit], before: Position, lineage: str, asked: int
) -> Pending:
    """What comes after a position.

    Args:
        namespace: of the history.
        lines: the latest, newest first.
        before: how far the hook is.
        lineage: of the control state now.
        asked: how many lines were asked for; fewer are all there are.
    """
    ids = [id_of(namespace, line) for line in lines]
    if before.id and before.id in ids:
        return Pending(tuple(reversed(lines[: ids.index(before.id)])))
    newer = [line for line in lines if _after(line, before, lineage)]
    whole = len(lines) < asked or len(newer) < len(lines)
    found = tuple(reversed(newer))
    return Pending(found, _missed(found, before, lineage), whole)


def _after(line: Audit, before: Position, lineage: str) -> bool:
    """Where the line of the position itself is gone, or there never was one."""
    same = bool(before.id) and before.lineage == lineage
    return line.at > before.at or (same and line.revision > before.revision)


def _missed(found: Sequence[Audit], before: Position, lineage: str) -> int:
    """Every change has a revision of its own, so what is between is what was dropped."""
    if not before.id or before.lineage != lineage or not found:
        return 0
    return max(0, min(line.revision for line in found) - before.revision - 1)


# --- how long to wait ---------------------------------------------------------------------------


def pause(tries: int, jitter: float, asked: float | None = None) -> float:
    """Seconds until the next try.

    Args:
        tries: that failed so far, at least one.
        jitter: uniform in [0, 1), so that many senders do not come back in step.
        asked: what the receiver asked for with ``Retry-After``.
    """
    usual = _PAUSES[tries - 1] if tries <= len(_PAUSES) else LONGEST_PAUSE
    return max(usual * (0.8 + 0.4 * jitter), min(asked or 0.0, ASKED_PAUSE))


def given_up(tries: int, age: float, *, poison: bool) -> bool:
    """Whether an event is dropped, so that those after it come through.

    Args:
        tries: that failed so far.
        age: seconds since it happened.
        poison: whether it is this event that cannot be told, by a receiver's word or by ours.
    """
    limit = POISON_LIMIT if poison else LIMIT
    return tries >= LEAST and age >= limit


# --- what is said -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """A line of history as it is told.

    Attributes:
        id: see :func:`id_of`.
        namespace: whose history it is.
        line: see there.
        why: in plain words, from the evidence where nobody gave a reason.
        release: canary label it is about; ``""`` for none.
        stable: label of the other side; likewise.
        lineage: of the control state.
        missed: how many events before it may never be told.
    """

    id: str
    namespace: str
    line: Audit
    why: str
    release: str = ""
    stable: str = ""
    lineage: str = ""
    missed: int = 0

    @property
    def rollout(self) -> str | None:
        """``None`` for what is about the whole namespace."""
        return None if self.line.scope == EVERYTHING else self.line.scope


def event(
    namespace: str, line: Audit, why: str, document: Document | None, missed: int = 0
) -> Event:
    """What is told of a line, with the labels that the control state or the evidence have."""
    release, stable = _labels(line, document)
    lineage = document.lineage if document else ""
    return Event(id_of(namespace, line), namespace, line, why, release, stable, lineage, missed)


def _labels(line: Audit, document: Document | None) -> tuple[str, str]:
    evidence = line.evidence
    labels = evidence.get("release"), evidence.get("stable")
    if isinstance(labels[0], str) and isinstance(labels[1], str):
        return labels[0], labels[1]
    state = document.rollouts.get(line.scope) if document else None
    if state is None:
        return "", ""
    # A line begins with its release; a kill and a revival are about the current one.
    named = (line.new.partition(" ")[0], line.old.partition(" ")[0], state.current or "")
    entry = next((state.entries[name] for name in named if name in state.entries), None)
    return (entry.release, entry.stable) if entry else ("", "")


def as_json(told: Event) -> bytes:
    """The body of format ``json``; docs/alerts.md promises these names."""
    line = told.line
    plain: Mapping[str, Any] = {
        "type": f"canary.{line.action}",
        "timestamp": _instant(line.at),
        "id": told.id,
        "at": line.at,
        "namespace": told.namespace,
        "rollout": told.rollout,
        "release": told.release or None,
        "stable": told.stable or None,
        "action": line.action,
        "old": line.old,
        "new": line.new,
        "by": line.by,
        "why": told.why,
        "revision": line.revision,
        "lineage": told.lineage or None,
        "missed": told.missed,
        "evidence": line.evidence,
    }
    return json.dumps(plain, separators=(",", ":")).encode()


def _instant(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):  # the codec lets pass what no calendar has
        return ""


_MARKS: Final = {
    "rollback": ":rewind:", "kill": ":octagonal_sign:", "precaution": ":warning:",
    "hold": ":raised_hand:", "await": ":raised_hand:", "promote": ":white_check_mark:",
    "restore": ":warning:", TEST: ":wave:",
}  # fmt: skip


def as_slack(told: Event) -> bytes:
    """The body of format ``slack``: one text, in which nothing that strangers wrote calls anybody.

    Escaped after Slack's "Formatting text for app surfaces".
    """
    line = told.line
    what = f"*{plain(told.rollout or told.namespace)}*"
    release = f" {plain(told.release)}" if told.release else ""
    where = f" ({plain(told.namespace)})" if told.rollout else ""
    change = f": {plain(line.old)} → {plain(line.new)}" if line.old else f": {plain(line.new)}"
    said = [f"{_MARKS.get(line.action, ':bird:')} {what}{release} *{line.action}*{where}{change}"]
    if told.why:
        said.append(f"> {plain(told.why)}")
    said.append(f"by {plain(line.by)}, revision {line.revision}")
    if told.missed:
        said.append(f"_up to {told.missed} earlier events were lost_")
    return json.dumps({"text": "\n".join(said)}, separators=(",", ":")).encode()


def plain(text: str) -> str:
    """Words of a stranger in mrkdwn."""
    clipped = text if len(text) <= _TEXT else f"{text[: _TEXT - 3]}..."
    clean = "".join(c if c.isprintable() else " " for c in clipped)
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        clean = clean.replace(sign, instead)
    # Where Slack's format is spoken by others, a bare @here calls everybody.
    return clean.replace("@", "@\u200b")


BODIES: Final = {"json": as_json, "slack": as_slack}


def trial(by: str, at: float) -> Audit:
    """The line that a hook is tried with; it is in no history."""
    why = "this is a test, sent by `canary alert test`"
    return Audit(at, by, TEST, EVERYTHING, "", "nothing changed", why, 0)


def place_after(namespace: str, line: Audit, lineage: str) -> Position:
    """The position of a line that needs no more telling."""
    return Position(id_of(namespace, line), line.revision, line.at, lineage)


def read_place(text: str | None) -> Position | None:
    """A stored position; ``None`` for none, and for what is none: it is begun anew then."""
    if text is None:
        return None
    try:
        return position(text)
    except StoreCorruptError:
        return None
