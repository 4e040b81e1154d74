"""Documents, audit entries and process reports as JSON, and strictly back again.

Whoever reaches the store can write anything there, so a value with one wrong part is refused as a
whole: ``StoreCorruptError`` names the place. Nothing is guessed, clamped or filled in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Final

from canary_middleware.core.codec_plan import drill_of, number, plan_of
from canary_middleware.core.facts import Facts, facts_of, facts_text
from canary_middleware.core.outcomes import BUCKETS
from canary_middleware.core.reading import Place, parse
from canary_middleware.core.records import Audit, OpenStreams, ProcessReport
from canary_middleware.core.state import (
    EVERYTHING,
    Baseline,
    Cap,
    Document,
    Entry,
    Kill,
    Period,
    Phase,
    RolloutState,
)
from canary_middleware.core.weight import FULL
from canary_middleware.errors import StoreCorruptError, StoreError

SCHEMA: Final = 1
MAX_BYTES: Final = 256 * 1024
"""Largest document, and largest report of a process, that is read or written."""
MAX_REVISION: Final = 2**53 - 1
"""Largest number that Lua and JSON keep exactly."""


def encode(document: Document) -> bytes:
    """Canonical JSON; equal documents have equal bytes.

    Raises:
        StoreError: nobody could read it again: larger than :data:`MAX_BYTES`, or a revision above
            :data:`MAX_REVISION`.
    """
    if document.revision > MAX_REVISION:
        raise StoreError(f"the control state is at its last revision, {MAX_REVISION}")
    head = {"schema": SCHEMA, "lineage": document.lineage, "revision": document.revision}
    kills = {scope: asdict(kill) for scope, kill in document.kills.items()}
    return _bounded("the control state", _dump({**head, "kills": kills, "body": _body(document)}))


def decode(data: bytes) -> Document:
    """The inverse of :func:`encode`.

    Raises:
        StoreCorruptError: anything else than what :func:`encode` writes.
    """
    place = parse(data, MAX_BYTES, "state")
    fields = place.fields("schema", "lineage", "revision", "kills", "body")
    document = _head(fields)
    body, revision = fields["body"].fields("lifted", "rollouts"), document.revision
    return replace(
        document,
        lifted={name: at.integer(0, revision) for name, at in body["lifted"].items()},
        rollouts={name: _rollout(name, at, revision) for name, at in body["rollouts"].items()},
    )


class Decoder:
    """:func:`decode` for many documents in turn: a body that did not change is not read again.

    A kill leaves the body alone, so that hearing of one takes a fifth of the time.
    """

    def __init__(self) -> None:
        # One tuple, swapped as a whole: threads may share a decoder.
        self._last: tuple[bytes, Document] | None = None

    def decode(self, data: bytes) -> Document:
        """What :func:`decode` returns, and raises."""
        # Inside a JSON string the quotes would be escaped, so this is where the body begins, in
        # the order in which the store's scripts write, or else the kill of a rollout "body". What
        # stands before that is no JSON.
        head, begin, body = data.partition(b',"body":')
        last = self._last
        if begin and last and last[0] == body:
            with suppress(StoreCorruptError):
                place = parse(head + b"}", MAX_BYTES, "state")
                document = _head(place.fields("schema", "lineage", "revision", "kills"))
                if document.revision >= last[1].revision:
                    return replace(document, lifted=last[1].lifted, rollouts=last[1].rollouts)
        document = decode(data)
        if begin:
            self._last = body, document
        return document


def encode_body(document: Document) -> bytes:
    """The part of a document that a kill leaves alone."""
    return _dump(_body(document))


def encode_kill(kill: Kill) -> bytes:
    """One kill, as it stands in a document."""
    return _dump(asdict(kill))


def encode_audit(audit: Audit) -> bytes:
    """One line of history."""
    return _dump(asdict(audit))


def decode_audit(data: bytes) -> Audit:
    """The inverse of :func:`encode_audit`.

    Raises:
        StoreCorruptError: anything else.
    """
    names = ("by", "action", "scope", "old", "new", "why")
    place = parse(data, MAX_BYTES, "audit")
    # Lines that an earlier version wrote have no evidence.
    given = dict(place.items())
    fields = place.fields("at", "revision", *names, *(["evidence"] if "evidence" in given else []))
    evidence = fields.get("evidence")
    if evidence is not None and type(evidence.value) is not dict:
        evidence.refuse("is not an object")
    return Audit(
        at=fields["at"].seconds(),
        revision=fields["revision"].integer(0, MAX_REVISION),
        evidence=evidence.value if evidence is not None else {},
        **{name: fields[name].text(empty=True) for name in names},
    )


def encode_report(report: ProcessReport) -> bytes:
    """One process report.

    Raises:
        StoreError: it would be larger than :data:`MAX_BYTES`.
    """
    plans = {name: plan.plain() for name, plan in report.plans.items()}
    told = (*report.silent, *_carried(report.facts))
    silent = [dict(zip(("rollout", "version", "why"), one, strict=True)) for one in told]
    said = {**asdict(report), "plans": plans, "silent": silent}
    del said["facts"]
    return _bounded("the report of this process", _dump(said))


def decode_report(data: bytes) -> ProcessReport:
    """The inverse of :func:`encode_report`.

    Raises:
        StoreCorruptError: anything else.
    """
    fields = parse(data, MAX_BYTES, "report").fields(
        "id", "host", "pid", "kind", "revision", "staleness", "plans", "in_flight", "at",
        "kill_file", "streams", "silent",
    )  # fmt: skip
    staleness, kill_file = fields["staleness"], fields["kill_file"]
    told = [_version(at) for at in fields["silent"].elements()]
    return ProcessReport(
        id=fields["id"].text(),
        host=fields["host"].text(),
        pid=fields["pid"].integer(0, MAX_REVISION),
        kind=fields["kind"].text(),
        revision=fields["revision"].integer(-1, MAX_REVISION),
        staleness=None if staleness.value is None else staleness.seconds(),
        plans={name: plan_of(at) for name, at in fields["plans"].items()},
        in_flight=fields["in_flight"].integer(0, MAX_REVISION),
        at=fields["at"].seconds(),
        kill_file=None if kill_file.value is None else kill_file.text(empty=True),
        streams=tuple(map(_streams, fields["streams"].elements())),
        silent=tuple(one for one in told if one[:2] != _FACTS),
        facts=_facts(told),
    )


_FACTS: Final = (EVERYTHING, "facts")
"""Under what facts travel, in pieces, among the versions that do not answer.

Processes from before there were facts refuse a report with a member that they do not know, and
with it the process. A line about a rollout that cannot exist they take along unread.
"""
_PIECE: Final = 900
"""Characters of a piece; a text of a report has 1,000 at most."""


def _carried(facts: Facts | None) -> Iterator[tuple[str, str, str]]:
    text = facts_text(facts) if facts is not None else ""
    for begin in range(0, len(text), _PIECE):
        yield (*_FACTS, text[begin : begin + _PIECE])


def _facts(told: Sequence[tuple[str, str, str]]) -> Facts | None:
    return facts_of("".join(why for *place, why in told if tuple(place) == _FACTS))


def _version(place: Place) -> tuple[str, str, str]:
    fields = place.fields("rollout", "version", "why")
    return fields["rollout"].text(), fields["version"].text(), fields["why"].text(empty=True)


def _streams(place: Place) -> OpenStreams:
    fields = place.fields("rollout", "version", "open", "losing", "within")
    within = fields["within"]
    return OpenStreams(
        rollout=fields["rollout"].text(),
        version=fields["version"].text(),
        open=fields["open"].integer(0, MAX_REVISION),
        losing=fields["losing"].integer(0, MAX_REVISION),
        within=None if within.value is None else within.seconds(),
    )


SHOWN: Final = 200
"""Characters of a foreign text that a log line shows."""


def printable(text: str, limit: int = 500) -> str:
    """Text from people as the codec accepts it: one line, no control characters, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:limit]).strip()


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _bounded(what: str, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise StoreError(f"{what} would take {len(data)} bytes of at most {MAX_BYTES}")
    return data


def _body(document: Document) -> Mapping[str, Any]:
    rollouts = {
        name: {
            "current": state.current,
            "entries": {release: _plain(entry) for release, entry in state.entries.items()},
        }
        for name, state in document.rollouts.items()
    }
    return {"lifted": dict(document.lifted), "rollouts": rollouts}


def _plain(entry: Entry) -> Mapping[str, Any]:
    return {
        **asdict(entry),
        "phase": entry.phase.value,
        "plan": entry.plan.plain(),
        "periods": [[one.revision, one.weight, one.at] for one in entry.periods],
    }


def _head(fields: Mapping[str, Place]) -> Document:
    fields["schema"].integer(SCHEMA, SCHEMA)
    revision = fields["revision"].integer(0, MAX_REVISION)
    kills = {name: _kill(at, revision) for name, at in fields["kills"].items()}
    return Document(fields["lineage"].text(), revision, kills)


def _kill(place: Place, revision: int) -> Kill:
    fields = place.fields("by", "why", "at", "revision")
    return Kill(
        by=fields["by"].text(empty=True),
        why=fields["why"].text(empty=True),
        at=fields["at"].seconds(),
        revision=fields["revision"].integer(0, revision),
    )


def _rollout(name: str, place: Place, revision: int) -> RolloutState:
    if name == EVERYTHING:
        place.refuse("is no name of a rollout")
    fields = place.fields("current", "entries")
    entries = {release: _entry(release, at, revision) for release, at in fields["entries"].items()}
    current = fields["current"]
    if current.value is not None and current.text() not in entries:
        current.refuse("has no entry")
    return RolloutState(current.value, entries)


def _entry(release: str, place: Place, revision: int) -> Entry:
    fields = place.fields(
        "release", "stable", "phase", "weight", "step", "epoch", "period", "since", "why", "plan",
        "run", "begun", "periods", "baseline", "caps", "drill", "noted", "reached", "stopped",
        "waived", "proven",
    )  # fmt: skip
    plan = plan_of(fields["plan"])
    if not release == fields["release"].text() == plan.canary:
        place.refuse("does not stand under its own release")
    return Entry(
        release=release,
        stable=fields["stable"].text(),
        phase=Phase(fields["phase"].one_of(*(phase.value for phase in Phase))),
        weight=fields["weight"].integer(0, FULL),
        step=fields["step"].integer(-1, len(plan.steps) - 1),
        epoch=fields["epoch"].integer(0, revision),
        period=fields["period"].integer(0, revision),
        since=fields["since"].seconds(),
        why=fields["why"].text(empty=True),
        plan=plan,
        run=fields["run"].integer(0, revision),
        begun=fields["begun"].seconds(),
        periods=tuple(_period(at, revision) for at in fields["periods"].elements()),
        baseline=_baseline(fields["baseline"], revision),
        caps=tuple(_cap(at, revision) for at in fields["caps"].elements()),
        drill=drill_of(fields["drill"]),
        noted=fields["noted"].text(empty=True),
        reached=fields["reached"].integer(-1, len(plan.steps) - 1),
        stopped=fields["stopped"].text(empty=True),
        waived=fields["waived"].texts(),
        proven=fields["proven"].text(empty=True),
    )


def _period(place: Place, revision: int) -> Period:
    row = list(place.elements())
    if len(row) != 3:
        place.refuse("is not revision, weight and time")
    return Period(row[0].integer(0, revision), row[1].integer(0, FULL), row[2].seconds())


def _cap(place: Place, revision: int) -> Cap:
    fields = place.fields("guard", "value", "since")
    since = fields["since"].integer(0, revision)
    return Cap(fields["guard"].text(), number(fields["value"]), since)


def _baseline(place: Place, revision: int) -> Baseline | None:
    if place.value is None:
        return None
    fields = place.fields("starts", "since")
    starts = tuple(at.integer(0, MAX_REVISION) for at in fields["starts"].elements())
    if len(starts) != BUCKETS:
        place.refuse(f"has not {BUCKETS} buckets")
    return Baseline(starts, fields["since"].integer(0, revision))
