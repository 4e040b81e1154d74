"""Everything that a demo must show, computed from what its visitors saw; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from canary_middleware.core.state import Phase
from canary_middleware.core.verdict import Finding
from canary_middleware.demo.account import HEARD_WITHIN, Account, Release, Scene, Window
from canary_middleware.demo.crowd import Answer
from canary_middleware.demo.summary import counted
from canary_middleware.demo.words import (
    CANARIES,
    CHECKOUT,
    ERRORS,
    PART_OF,
    PARTS,
    PAY,
    SEARCH,
    TWICE,
    Part,
)

SIGMAS: Final = 5.0
"""How far chance may take a share from its weight: once in some million runs."""
COUNTED_WITHIN: Final = 7.0
"""Seconds after which an answer is in what history knows: outcomes are booked at an age of one
second, or of five while nobody knows how fast stable is, then shipped, and read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that must hold."""

    held: bool
    text: str


def verdicts(account: Account) -> Iterator[Verdict]:
    """All of it, in the order in which it is told."""
    yield from _promoted(account)
    yield from _charged_twice(account)
    yield from _died(account)
    yield from _killed(account)
    yield _revived(account)
    yield _faithful(account)
    yield _agreement(account)
    yield _errors(account)


# --- the good one -------------------------------------------------------------------------------


def _promoted(account: Account) -> Iterator[Verdict]:
    release = account.releases[CHECKOUT.name]
    took = release.since - release.began
    by_itself = release.phase is Phase.PROMOTED and release.told is not None
    proven = "proven up to its margins" if release.told and release.told.verdict.proven else (
        "with no regression found"
    )  # fmt: skip
    yield Verdict(
        by_itself,
        f"{_name(release)} was promoted after {took:.1f} s, {proven}"
        if by_itself
        else f"{_name(release)} was not promoted: it is {release.word}",
    )
    for scene in release.scenes:
        yield _share(account, release.part, scene)
    told = release.told
    if told is not None and told.requests is not None:
        low, high = _known(account.of(CHECKOUT.canary), release.since)
        yield Verdict(
            low <= told.requests[0] <= high,
            f"history knew {told.requests[0]:,} of the {high:,} requests to {CHECKOUT.canary} "
            "until then",
        )


def _share(account: Account, part: Part, scene: Scene) -> Verdict:
    settled = Window(scene.time.begun + HEARD_WITHIN, scene.time.over)
    versions = _versions(account.answers, part, settled)
    everybody, canaries = len(versions), sum(seen == part.canary for seen in versions.values())
    weight, share = scene.weight / 100, canaries / max(1, everybody)
    room = SIGMAS * (weight * (1 - weight) / max(1, everybody)) ** 0.5
    return Verdict(
        everybody > 0 and abs(share - weight) <= room,
        f"at {scene.weight:g} %: {canaries:,} of {everybody:,} visitors on {part.canary} "
        f"({share:.1%})",
    )


# --- the one that charges twice -----------------------------------------------------------------


def _charged_twice(account: Account) -> Iterator[Verdict]:
    release = account.releases[PAY.name]
    orders = list(account.of(PAY.canary))
    twice = [order for order in orders if order.charges > 1]
    first = min((order.received for order in twice), default=release.began)
    noticed = f"{release.since - first:.1f} s after its first double charge"
    yield _rolled_back(release, TWICE, noticed)
    yield _gone(account, release)
    elsewhere = sum(answer.charges > 1 for answer in account.of(PAY.stable))
    yield Verdict(
        bool(twice) and not elsewhere and not _pages(account, PAY),
        f"{len(twice):,} of {len(orders):,} orders charged twice on {PAY.canary}, "
        f"{elsewhere:,} on {PAY.stable}; every answer was a clean 200",
    )
    found = _finding(release, TWICE)
    bad, known = _known(twice, release.since), _known(orders, release.since)
    yield Verdict(
        found is not None
        and bad[0] <= found.canary.events <= bad[1]
        and known[0] <= found.canary.of <= known[1],
        f"history knew {found.canary.events:,} of {found.canary.of:,} orders charged twice when "
        f"visitors had seen {bad[1]:,} of {known[1]:,}"
        if found
        else f"history has no evidence against {_name(release)}",
    )


# --- the one whose server dies ------------------------------------------------------------------


def _died(account: Account) -> Iterator[Verdict]:
    release, died = account.releases[SEARCH.name], account.died
    when = "before its server was killed"
    if died is not None:
        when = f"{release.since - died:.1f} s after its server was killed"
    yield _rolled_back(release, ERRORS, when)
    helped = account.exported.helped.get(SEARCH.name, ())
    booked = account.exported.rescued.get(SEARCH.canary, 0)
    pages = _pages(account, SEARCH)
    seen = sum(1 for _ in account.of(SEARCH.canary))
    yield Verdict(
        died is not None and bool(seen) and not pages and 0 < len(helped) == booked,
        f"its server had given {seen:,} answers; {len(set(helped)):,} visitors came too late and "
        f"had {release.part.stable}, by spans and metrics; {pages:,} of them saw an error page",
    )
    found = _finding(release, ERRORS)
    events = found.canary.events if found else 0
    yield Verdict(
        0 < events <= len(set(helped)),
        f"history knew {events:,} of those {len(set(helped)):,} when it was rolled back",
    )


def _pages(account: Account, part: Part) -> int:
    return len({trouble.visitor for trouble in account.errors if trouble.part == part.name})


def _rolled_back(release: Release, guard: str, when: str) -> Verdict:
    name = _name(release)
    if release.phase is Phase.ROLLED_BACK and guard in release.guards:
        return Verdict(True, f"{name} was rolled back {when}, by {guard}")
    by = f" by {', '.join(release.guards)}" if release.guards else ""
    return Verdict(False, f"{name} was not rolled back by {guard}: it is {release.word}{by}")


def _gone(account: Account, release: Release) -> Verdict:
    canary, over = release.part.canary, release.since + HEARD_WITHIN
    rolled_back = release.phase is Phase.ROLLED_BACK
    late = sum(answer.sent > over for answer in account.of(canary))
    return Verdict(
        rolled_back and not late,
        f"{late:,} requests given to {canary} later than a second after that",
    )


def _finding(release: Release, guard: str) -> Finding | None:
    findings = release.told.verdict.findings if release.told else ()
    return next((one for one in findings if one.guard == guard), None)


def _known(answers: Iterable[Answer], at: float) -> tuple[int, int]:
    """How many of these history must have known at that time, and how many it can have known."""
    all_of_them = list(answers)
    least = sum(answer.received <= at - COUNTED_WITHIN for answer in all_of_them)
    return least, sum(answer.sent <= at for answer in all_of_them)


# --- the kill switch ----------------------------------------------------------------------------


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
    canaries = [answer for answer in answers if answer.version in CANARIES]
    late = [a for a in canaries if a.heard is not None and a.dispatched < over]
    yield Verdict(
        not late,
        f"{len(late):,} requests given to {CHECKOUT.canary} after their worker had heard of the "
        "kill",
    )
    last = max((answer.received for answer in canaries), default=account.struck)
    in_time = last <= account.kill.over + HEARD_WITHIN
    when = f"{_milliseconds(last - account.struck)} after" if last > account.struck else "before"
    begun_before = last > account.struck and in_time and not late
    fair = ", begun before its worker had heard of it" if begun_before else ""
    yield Verdict(
        in_time, f"last request given to {CHECKOUT.canary} ended {when} the kill was written{fair}"
    )


def _revived(account: Account) -> Verdict:
    before = _versions(account.answers, CHECKOUT, account.before)
    after = _versions(account.answers, CHECKOUT, account.after)
    both = before.keys() & after.keys()
    same = sum(before[visitor] == after[visitor] for visitor in both)
    return Verdict(
        bool(both) and same == len(both),
        f"{same:,} of {len(both):,} visitors who came back after it have their version again",
    )


# --- all of them --------------------------------------------------------------------------------


def _faithful(account: Account) -> Verdict:
    unfaithful = set()
    changes = {part.name: list(account.changes(part)) for part in PARTS}
    last: dict[tuple[int, str], Answer] = {}
    for answer in sorted(account.answers, key=lambda answer: answer.sent):
        part = PART_OF[answer.version]
        before = last.get((answer.visitor, part.name))
        if before is not None and before.version != answer.version:
            # A change between the two looks explains it, be it still on its way to some worker.
            between = Window(before.sent, answer.received)
            if not any(_overlap(between, change) for change in changes[part.name]):
                unfaithful.add(answer.visitor)
        last[answer.visitor, part.name] = answer
    count = len(unfaithful)
    return Verdict(not count, f"{count:,} visitors saw two versions without a change of weight")


def _overlap(one: Window, change: Window) -> bool:
    return one.begun <= change.over + HEARD_WITHIN and change.begun <= one.over


def _versions(answers: Iterable[Answer], part: Part, time: Window) -> dict[int, str]:
    """The version of everybody who came to a part within a time."""
    return {
        answer.visitor: answer.version
        for answer in answers
        if PART_OF[answer.version] is part
        # Whoever asks in it is answered by a worker that has heard of the weight.
        and time.begun <= answer.sent
        and answer.received <= time.over
    }


def _agreement(account: Account) -> Verdict:
    held = all(row.agrees for row in counted(account))
    return Verdict(
        held, "what visitors saw, spans and metrics agree" + ("" if held else ": they do not")
    )


def _errors(account: Account) -> Verdict:
    count = len(account.errors)
    first = f"; the first: {account.errors[0]}" if count else ""
    return Verdict(
        not count, f"{count:,} errors in {len(account.answers) + count:,} requests{first}"
    )


def _name(release: Release) -> str:
    return f"{release.part.name} {release.part.canary}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms"
