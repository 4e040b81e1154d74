"""What the demo came to, in two tables: who was touched by which release, and who counted what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from canary_middleware.core.state import Phase
from canary_middleware.demo.account import Account, Release
from canary_middleware.demo.crowd import Answer
from canary_middleware.demo.words import PARTS, Part


@dataclass(frozen=True, slots=True)
class Touched:
    """Whom a release touched, in distinct visitors.

    Attributes:
        release: see there.
        saw: had an answer of it.
        twice: were charged twice for an order.
        pages: saw an error page, or nothing at all.
        rescued: would have, had stable not answered in its place; from spans.
    """

    release: Release
    saw: int
    twice: int
    pages: int
    rescued: int


def touched(account: Account, part: Part) -> Touched:
    """From what visitors saw."""
    mine = list(account.of(part.canary))
    return Touched(
        release=account.releases[part.name],
        saw=_distinct(mine),
        twice=_distinct(answer for answer in mine if answer.charges > 1),
        pages=len({trouble.visitor for trouble in account.errors if trouble.part == part.name}),
        rescued=len(set(account.exported.helped.get(part.name, ()))),
    )


def harmed(account: Account) -> tuple[int, int, int, int]:
    """How many visitors came, saw a release that was rolled back, paid twice, saw an error page."""
    bad = {part.canary for part in PARTS if account.releases[part.name].phase is Phase.ROLLED_BACK}
    pages = {trouble.visitor for trouble in account.errors}
    return (
        len({answer.visitor for answer in account.answers} | pages),
        _distinct(answer for answer in account.answers if answer.version in bad),
        _distinct(answer for answer in account.answers if answer.charges > 1),
        len(pages),
    )


def _distinct(answers: Iterable[Answer]) -> int:
    return len({answer.visitor for answer in answers})


@dataclass(frozen=True, slots=True)
class Row:
    """One version, by everybody who counted: bodies, spans, metrics."""

    part: Part
    version: str
    visitors: tuple[int, int]
    requests: tuple[int, int, int]

    @property
    def agrees(self) -> bool:
        """Whether all of them say the same."""
        return len(set(self.visitors)) == 1 and len(set(self.requests)) == 1


def counted(account: Account) -> list[Row]:
    """Visitors and requests per version."""
    seen: dict[str, list[Answer]] = {}
    for answer in account.answers:
        seen.setdefault(answer.version, []).append(answer)
    return [
        _row(part, version, seen.get(version, []), account)
        for part in PARTS
        for version in (part.stable, part.canary)
    ]


def _row(part: Part, version: str, answers: list[Answer], account: Account) -> Row:
    def told(counts: Mapping[str, int]) -> int:
        return counts.get(version, 0)

    exported = account.exported
    # A rescued request is booked on the canary, once; whoever sent it saw an answer of stable.
    helping = exported.rescued.get(part.canary, 0) if version == part.stable else 0
    return Row(
        part,
        version,
        visitors=(_distinct(answers), told(exported.visitors)),
        requests=(len(answers), told(exported.spans), told(exported.points) + helping),
    )
