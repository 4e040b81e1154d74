"""What happened in a demo: what visitors saw, what history says, what telemetry told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from canary_middleware.core.evidence import Told, read
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Document, Phase
from canary_middleware.core.weight import FULL
from canary_middleware.demo.crowd import Answer, Trouble
from canary_middleware.demo.words import SEARCH, Part

HEARD_WITHIN: Final = 1.0
"""Seconds after which every process has heard of a change, pushes or not."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when something happened, in monotonic seconds."""

    begun: float
    over: float


@dataclass(frozen=True, slots=True)
class Scene:
    """A time with one weight (percent) in force."""

    weight: float
    time: Window


@dataclass(frozen=True, slots=True)
class Release:
    """What became of a release, by the control state and its history.

    Attributes:
        part: of the shops.
        began: when it was started, in monotonic seconds, as all times here.
        phase: where it stood when the demo looked.
        since: since when.
        scenes: by weight, in order.
        why: what history says of its end.
        told: the evidence that history has of its end; ``None`` where a person did it.
    """

    part: Part
    began: float
    phase: Phase
    since: float
    scenes: tuple[Scene, ...] = ()
    why: str = ""
    told: Told | None = None

    @property
    def word(self) -> str:
        """How it stands."""
        return self.phase.value.replace("_", " ")

    @property
    def guards(self) -> tuple[str, ...]:
        """Those that it was rolled back by."""
        return tuple(one.guard for one in self.told.verdict.breaches) if self.told else ()


@dataclass(frozen=True, slots=True)
class Exported:
    """What the telemetry receiver counted, by version.

    Attributes:
        spans: of servers.
        visitors: distinct ones on those spans.
        points: answers that clients saw, by the metric.
        rescued: canary answers that stable replaced, by the metric.
        helped: by rollout, the visitors of spans that tell of a rescue, one per span.
    """

    spans: Mapping[str, int]
    visitors: Mapping[str, int]
    points: Mapping[str, int]
    rescued: Mapping[str, int] = field(default_factory=dict)
    helped: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """Everything that the summary is made of.

    Attributes:
        answers: all that visitors saw.
        errors: error pages, and answers that never came.
        workers: process ids of all workers.
        releases: by name of the rollout, as they stood before the kill.
        before: time before the kill with nothing else going on.
        struck: when the kill was written.
        kill: the command that did it.
        revive: the command that lifted it.
        after: time after that.
        died: when the server of the new search was killed; ``None`` if it never was.
        exported: by telemetry.
    """

    answers: Sequence[Answer]
    errors: Sequence[Trouble]
    workers: frozenset[int]
    releases: Mapping[str, Release]
    before: Window
    struck: float
    kill: Window
    revive: Window
    after: Window
    died: float | None
    exported: Exported

    def changes(self, part: Part) -> Iterator[Window]:
        """When the weight of a part changed, or stable began to answer for its canary."""
        release = self.releases[part.name]
        for at in (*(scene.time.begun for scene in release.scenes), release.since):
            yield Window(at, at)
        if part is SEARCH and self.died is not None:
            yield Window(self.died, self.died)
        yield self.kill
        yield self.revive

    def of(self, version: str) -> Iterator[Answer]:
        """The answers of one version."""
        return (answer for answer in self.answers if answer.version == version)


def release_of(part: Part, document: Document, lines: Sequence[Audit], offset: float) -> Release:
    """What became of a release.

    Args:
        part: whose.
        document: the control state.
        lines: of history, the newest first.
        offset: monotonic seconds minus wall-clock seconds.

    Raises:
        LookupError: it was never started.
        StoreCorruptError: its evidence is none.
    """
    entry = document.entry(part.name, part.canary)
    if entry is None:
        raise LookupError(f"{part.name} {part.canary} was never started")
    last = next((line for line in lines if line.scope == part.name and line.evidence), None)
    ended = entry.phase in (Phase.PROMOTED, Phase.ROLLED_BACK)
    changes = [(period.at + offset, period.weight / FULL * 100) for period in entry.periods]
    return Release(
        part=part,
        began=entry.begun + offset,
        phase=entry.phase,
        since=entry.since + offset,
        scenes=tuple(_scenes(changes, entry.since + offset)),
        why=entry.why,
        told=read(last.evidence) if ended and last is not None else None,
    )


def _scenes(changes: Sequence[tuple[float, float]], over: float) -> Iterator[Scene]:
    """Periods with the same weight are one scene."""
    kept = [one for at, one in enumerate(changes) if not at or changes[at - 1][1] != one[1]]
    ends = [*(begun for begun, _ in kept[1:]), over]
    for (begun, weight), end in zip(kept, ends, strict=True):
        if end > begun:
            yield Scene(weight, Window(begun, end))
