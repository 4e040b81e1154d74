"""What the demo showed, computed from what its visitors saw; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.demo.crowd import Answer
from canary_middleware.demo.words import CANARY, STABLE

HEARD_WITHIN: Final = 1.0
"""Seconds after which every process has heard of a change, pushes or not."""
SIGMAS: Final = 5.0
"""How far chance may take a share from its weight: once in some million runs."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when something happened, in monotonic seconds."""

    begun: float
    over: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A time with one weight (percent) in force."""

    name: str
    weight: int
    time: Window


@dataclass(frozen=True, slots=True)
class Exported:
    """What the telemetry receiver counted, by version."""

    spans: Mapping[str, int]
    visitors: Mapping[str, int]
    points: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that the summary is made of.

    Attributes:
        answers: all that visitors saw.
        errors: what went wrong, in words.
        workers: process ids of all workers.
        changes: when the control state was changed.
        scenes: when which weight was in force.
        struck: when the kill was written.
        kill: the command that did it.
        revive: the command that lifted it.
        exported: by telemetry.
    """

    answers: Sequence[Answer]
    errors: Sequence[str]
    workers: frozenset[int]
    changes: Sequence[Window]
    scenes: Sequence[Scene]
    struck: float
    kill: Window
    revive: Window
    exported: Exported


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that must hold."""

    held: bool
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of numbers, stable and canary."""

    name: str
    stable: int
    canary: int


def table(account: Account) -> list[Row]:
    """Visitors and requests per version, by everybody who counted."""
    visitors: dict[str, set[int]] = defaultdict(set)
    requests: dict[str, int] = defaultdict(int)
    for answer in account.answers:
        visitors[answer.version].add(answer.visitor)
        requests[answer.version] += 1
    exported = account.exported
    return [
        _row("visitors, from bodies", {version: len(who) for version, who in visitors.items()}),
        _row("visitors, from spans", exported.visitors),
        _row("requests, from bodies", requests),
        _row("requests, from spans", exported.spans),
        _row("requests, from metrics", exported.points),
    ]


def _row(name: str, counts: Mapping[str, int]) -> Row:
    return Row(name, counts.get(STABLE, 0), counts.get(CANARY, 0))


def verdicts(account: Account) -> Iterator[Verdict]:
    """Everything that must hold, in the order in which it is told."""
    yield _agreement(table(account))
    for scene in account.scenes:
        yield _share(account.answers, scene)
    yield _faithful(account)
    yield from _killed(account)
    yield _revived(account)
    yield _errors(account)


def _agreement(rows: Iterable[Row]) -> Verdict:
    numbers: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for row in rows:
        numbers[row.name.partition(",")[0]].add((row.stable, row.canary))
    held = all(len(found) == 1 for found in numbers.values())
    return Verdict(
        held, "what visitors saw, spans and metrics agree" + ("" if held else ": they do not")
    )


def _share(answers: Iterable[Answer], scene: Scene) -> Verdict:
    versions = _versions(answers, scene.time)
    everybody, canaries = len(versions), sum(seen == CANARY for seen in versions.values())
    weight, share = scene.weight / 100, canaries / max(1, everybody)
    room = SIGMAS * (weight * (1 - weight) / max(1, everybody)) ** 0.5
    return Verdict(
        everybody > 0 and abs(share - weight) <= room,
        f"{scene.name}: {canaries:,} of {everybody:,} visitors on {CANARY} ({share:.1%})",
    )


def _faithful(account: Account) -> Verdict:
    unfaithful = set()
    last: dict[int, Answer] = {}
    for answer in sorted(account.answers, key=lambda answer: answer.sent):
        before = last.get(answer.visitor)
        if before is not None and before.version != answer.version:
            # A change between the two looks explains it, be it still on its way to some worker.
            between = Window(before.sent, answer.received)
            if not any(_overlap(between, change) for change in account.changes):
                unfaithful.add(answer.visitor)
        last[answer.visitor] = answer
    count = len(unfaithful)
    return Verdict(not count, f"{count:,} visitors saw two versions without a change of weight")


def _overlap(one: Window, change: Window) -> bool:
    return one.begun <= change.over + HEARD_WITHIN and change.begun <= one.over


def _killed(account: Account) -> Iterator[Verdict]:
    begun, over = account.kill.begun, account.revive.begun
    answers = [a for a in account.answers if begun <= a.received and a.sent < over]
    heard = {a.worker: a.heard for a in answers if a.heard is not None}
    slowest = max(heard.values(), default=account.struck) - account.struck
    yield Verdict(
        heard.keys() == account.workers and slowest <= HEARD_WITHIN,
        f"{len(heard)} of {len(account.workers)} workers heard of the kill, "
        f"the last {_milliseconds(slowest)} after it was written",
    )
    canaries = [answer for answer in answers if answer.version == CANARY]
    late = [a for a in canaries if a.heard is not None and a.dispatched < over]
    yield Verdict(
        not late,
        f"{len(late):,} requests given to {CANARY} after their worker had heard of the kill",
    )
    last = max((answer.received for answer in canaries), default=account.struck)
    in_time = last <= account.kill.over + HEARD_WITHIN
    when = f"{_milliseconds(last - account.struck)} after" if last > account.struck else "before"
    fair = ", begun before its worker had heard of it" if in_time and not late else ""
    yield Verdict(
        in_time, f"last request given to {CANARY} ended {when} the kill was written{fair}"
    )


def _revived(account: Account) -> Verdict:
    before = _versions(account.answers, account.scenes[-2].time)
    after = _versions(account.answers, account.scenes[-1].time)
    both = before.keys() & after.keys()
    same = sum(before[visitor] == after[visitor] for visitor in both)
    return Verdict(
        bool(both) and same == len(both),
        f"{same:,} of {len(both):,} visitors who came back later have their version again",
    )


def _versions(answers: Iterable[Answer], time: Window) -> dict[int, str]:
    """The version of everybody who came within a time."""
    return {
        answer.visitor: answer.version
        for answer in answers
        # Whoever asks in it is answered by a worker that has heard of the weight.
        if time.begun <= answer.sent and answer.received <= time.over
    }


def _errors(account: Account) -> Verdict:
    count = len(account.errors)
    first = f"; the first: {account.errors[0]}" if count else ""
    return Verdict(
        not count, f"{count:,} errors in {len(account.answers) + count:,} requests{first}"
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
