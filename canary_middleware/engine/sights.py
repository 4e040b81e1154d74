"""What the cookie of a visitor keeps of each period in which it was measured: its sights."""

from __future__ import annotations

from canary_middleware.core.bucket import IDENTIFIED
from canary_middleware.core.cookie import NOBODY, pin_tag
from canary_middleware.core.gauge import Gauge
from canary_middleware.core.throw import Sight
from canary_middleware.engine.placing import Placing


class Sighted(Placing):
    """The side of a visit that reads and writes sights.

    Attributes:
        marks: by rollout, what the visitor had counted for before this request, where its cookie
            says more now; or ``None``.
    """

    __slots__ = ("marks",)

    marks: dict[str, int] | None

    def _sight(self, gauge: Gauge) -> Sight | None:
        known = self._known
        return None if known is None else known.cookie.sight(self._sight_tag(gauge))

    def _sight_tag(self, gauge: Gauge) -> str:
        """Two users of one browser have a sight each."""
        known, visitor = self._known, self._visitor
        if known is None or visitor is None:
            return gauge.tag
        binding = self.engine.visitors.binding(visitor)
        if known.cookie.binding in ("", binding):
            return gauge.tag
        return pin_tag(gauge.key, gauge.rollout, gauge.lineage, gauge.run, binding)

    def _keep_sight(self, gauge: Gauge, sight: Sight) -> bool:
        """Write it into the cookie; without room the visitor is not measured there."""
        known = self._known
        if known is None:
            if self._visitor is None or not self._may_draw():
                return False
            known = self.engine.visitors.draw()
            known = known.rewritten(known.cookie.bound(NOBODY))
            self._known = known
        cookie = known.cookie.sighted(self._sight_tag(gauge), sight)
        if cookie is None:
            self.engine.recorder.count("sight_no_room")
            return False
        self._known = known.rewritten(cookie)
        self.issue = True
        return True

    def _by_subject(self) -> bool:
        """Whether the coin belongs to the subject and not to the cookie."""
        visitor, known = self._visitor, self._known
        if visitor is None:
            return False
        if known is None:
            return True
        return known.cookie.binding not in ("", self.engine.visitors.binding(visitor))

    def _unit(self, gauge: Gauge) -> int:
        """Keyed hash of whose coin it is."""
        visitor, known = self._visitor, self._known
        if visitor is not None and self._by_subject():
            return gauge.unit(IDENTIFIED, visitor.subject)
        return gauge.unit(*known.drawn) if known is not None else 0

    def _mark(self, gauge: Gauge, sight: Sight, bits: int) -> None:
        """Keep what the visitor counts for from now on, and remember what it was until now."""
        if bits & ~sight.seen:
            if self.marks is None:
                self.marks = {}
            self.marks.setdefault(gauge.rollout, sight.seen)
            self._keep_sight(gauge, sight._replace(seen=sight.seen | bits))

    def _before(self, gauge: Gauge) -> Sight | None:
        """The sight as it was when the request came, for the sake of what it counts for now."""
        sight, marks = self._sight(gauge), self.marks or {}
        if sight is None or gauge.rollout not in marks:
            return sight
        return sight._replace(seen=marks[gauge.rollout])
