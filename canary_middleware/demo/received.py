"""What a receiver of telemetry has received, and how it counts that by version."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Final

from canary_middleware.demo.otlp import Point, Span, Value
from canary_middleware.demo.words import VISITOR_OF_SPAN

VERSION: Final = "canary.version"
RESCUED: Final = "canary.rescued"
RESCUE: Final = "rescued"
FLAG: Final = "feature_flag.key"
OUTCOME: Final = "canary.outcome"
ABANDONED: Final = (RESCUE, "superseded")
"""Outcomes of canary answers that stable replaced: nobody saw them."""


class Received:
    """Everything received so far; safe to read while the server writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans: list[Span] = []
        self._points: list[Point] = []

    def add(self, spans: Sequence[Span] = (), points: Sequence[Point] = ()) -> None:
        """Keep what one request carried."""
        with self._lock:
            self._spans.extend(spans)
            self._points.extend(points)

    @property
    def spans(self) -> list[Span]:
        """All spans, in order of arrival."""
        with self._lock:
            return list(self._spans)

    @property
    def points(self) -> list[Point]:
        """All metric points, in order of arrival: cumulative series appear once per export."""
        with self._lock:
            return list(self._points)

    def latest(self, name: str) -> list[Point]:
        """The newest point of every series of one metric.

        A series is attributes, resource and start: workers of one server share the resource, but
        no two started in the same nanosecond.
        """
        newest: dict[object, Point] = {}
        for point in self.points:
            if point.name == name:
                labels = frozenset(point.attributes.items()), frozenset(point.resource.items())
                newest[labels, point.start] = point
        return list(newest.values())

    def spans_by_version(self, kind: str = "SERVER") -> Counter[str]:
        """How many spans of this kind carry each ``canary.version``."""
        spans = (span for span in self.spans if span.kind == kind and VERSION in span.attributes)
        return Counter(str(span.attributes[VERSION]) for span in spans)

    def totals_by_version(self, name: str) -> dict[str, float]:
        """The newest cumulative totals by ``canary.version``; histograms count observations."""
        totals: dict[str, float] = {}
        for point in self.latest(name):
            if VERSION in point.attributes:
                version = str(point.attributes[VERSION])
                amount = point.value if point.count is None else point.count
                totals[version] = totals.get(version, 0) + amount
        return totals

    def answers_by_version(self, name: str = "canary.requests") -> dict[str, int]:
        """As :meth:`totals_by_version`, of what clients got to see."""
        totals: Counter[str] = Counter()
        for point in self.latest(name):
            if VERSION in point.attributes and point.attributes.get(OUTCOME) not in ABANDONED:
                totals[str(point.attributes[VERSION])] += int(point.value)
        return dict(totals)

    def visitors_by_version(self) -> dict[str, int]:
        """How many visitors the server spans of each version name."""
        visitors: dict[str, set[Value]] = {}
        for span in self.spans:
            if span.kind == "SERVER" and VERSION in span.attributes:
                seen = visitors.setdefault(str(span.attributes[VERSION]), set())
                seen.add(span.attributes.get(VISITOR_OF_SPAN))
        return {version: len(seen) for version, seen in visitors.items()}

    def rescued_by_version(self, name: str = "canary.requests") -> dict[str, int]:
        """How many canary answers stable replaced because they failed, from metrics."""
        totals: Counter[str] = Counter()
        for point in self.latest(name):
            if point.attributes.get(OUTCOME) == RESCUE:
                totals[str(point.attributes[VERSION])] += int(point.value)
        return dict(totals)

    def rescued_visitors(self) -> dict[str, list[Value]]:
        """By rollout, the visitor of each server span that tells of a rescue."""
        visitors: dict[str, list[Value]] = {}
        for span in self.spans:
            if span.kind == "SERVER" and span.attributes.get(RESCUED):
                told = visitors.setdefault(str(span.attributes[FLAG]), [])
                told.append(span.attributes.get(VISITOR_OF_SPAN))
        return visitors

    def forget(self) -> None:
        """Drop everything received so far."""
        with self._lock:
            self._spans.clear()
            self._points.clear()

    def summary(self) -> dict[str, object]:
        """What ``GET /counts`` answers."""
        names = sorted({point.name for point in self.points})
        return {
            "spans": len(self.spans),
            "points": len(self.points),
            "spans_by_version": self.spans_by_version(),
            "visitors_by_version": self.visitors_by_version(),
            "answers_by_version": self.answers_by_version(),
            "rescued_by_version": self.rescued_by_version(),
            "rescued_visitors": self.rescued_visitors(),
            "totals_by_version": {name: self.totals_by_version(name) for name in names},
        }
