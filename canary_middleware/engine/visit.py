"""One request: whose it is, which rollouts mattered, and what its response has to say of it."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.core.model import Assignment, Reason
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.override import EXPLAIN
from canary_middleware.core.rescue import Supersede
from canary_middleware.core.routing import Place, Standing, Trace, admit, by_weight, gate
from canary_middleware.core.snapshot import Lane, Match, Snapshot
from canary_middleware.engine.measured import IN_TIME, TIMED_OUT
from canary_middleware.engine.overrides import Given
from canary_middleware.engine.superseding import KILLED, Superseding
from canary_middleware.engine.views import RequestView

if TYPE_CHECKING:
    from canary_middleware.engine.drilling import Blow
    from canary_middleware.engine.engine import Engine


EXPLAINED: Final = 1000
"""Characters of an explanation, at most."""


class Visit(Superseding):
    """The per-request object, made for requests that some lane covers.

    Attributes:
        outer: the visit of another canary around this one, whose rollouts are asked there.
        exposed: assignments that mattered, by rollout, in the order of exposure.
        begun: monotonic seconds of the arrival.
        started: the response has started, so headers are out of reach.
        finished: the outcome is booked.
        abandoned: and it was superseded; a second run is to come.
        span: what telemetry remembered at the entry.
        leave: what telemetry wants done when the request is over, in the frame that it came in.
        status: of the answer; 0 until it starts.
        spans: server spans that started inside the request.
        struck: what a drill does to the answer.
        traces: how each rollout was decided, where a debug token asks for it.
    """

    # A visit is made for every covered request: a slot is set and read for a third of what a
    # default in the class costs to read.
    __slots__ = (
        "_given", "_late", "abandoned", "leave", "span", "spans", "struck", "traces",
    )  # fmt: skip
    struck: Blow | None  # unset until a drill has looked

    def __init__(
        self,
        engine: Engine,
        match: Match,
        view: RequestView,
        outer: Visit | None = None,
        given: Given | None = None,
    ) -> None:
        self.engine = engine
        self.given = given
        self.match = match
        self.view = view
        self.outer = outer
        self.begun = engine.clock()
        self.exposed: dict[str, Assignment] = {}
        self.canary = False
        self.started = False
        self.finished = False
        self.abandoned = False
        self.rescued = False
        self.target = None
        self.unsent = self.crowded = False
        self.failed = False
        self.issue = False
        self.status = 0
        self.head = -1.0
        self.arrivals = None
        self.returned = None
        self.marks = None
        self.observed = None
        self.overdue = IN_TIME
        self.upload = None
        self.slow = inf
        self.measured = False
        self.span: Any = None
        self.leave: Callable[[], object] | None = None
        self.spans: list[Any] | None = None
        self.traces: dict[str, Trace] | None = {} if given is not None and given.explain else None
        self._asked = False
        self._looked = False
        self._late = False
        self._place = False
        self._known = None
        self._told = None
        self._visitor = None
        self._claims = {}
        self._given: dict[str, Assignment] | None = None

    def expose(self, name: str) -> Assignment:
        """The assignment of a rollout; routed, booked and told to telemetry at the first call."""
        found = self.exposed.get(name)
        if found is not None:
            return found
        engine = self.engine
        if name not in self.match.names:
            if self.outer is not None and name not in engine.snapshot.by_name:
                return self.outer.expose(name)
            return engine.not_covered(name)
        assignment = self._recalled(name) or self._routed(name)
        # The first answer stays: identify, or another thread of the handler, may have asked.
        assignment = self.exposed.setdefault(name, assignment)
        if assignment.is_canary:
            self.canary = True
        if assignment.gauge is not None:
            self.measured = True
            self.slow = min(self.slow, assignment.gauge.slow)
        if self.started:
            self._note_late(engine.snapshot.by_name[name])
        else:
            engine.recorder.running[self] = None
            if self.finished:  # asked after, as threads of a request that was cancelled go on
                engine.recorder.running.pop(self, None)
        if engine.observer is not None:
            engine.observer.exposed(self, assignment)
        return assignment

    def _recalled(self, name: str) -> Assignment | None:
        """What the first run or an earlier request of this visitor has settled."""
        engine = self.engine
        if self._given is not None:
            given = self._given.get(name)
            lane = engine.snapshot.by_name[name]
            return lane.closed if lane.gate is KILLED and given and given.is_canary else given
        if not engine.plain or (engine.max_staleness is not None and engine.stale()):
            return None
        if self.given is not None:
            return None
        known = self._known if self._looked else self.known()
        if known is None:
            return None
        # One tuple, read and replaced as a whole: threads share this visitor.
        mark, memo = known.memo
        if mark is not engine.snapshot.mark:
            return None
        if known.reissue:
            self.issue = True
        return memo.get(name)

    def _routed(self, name: str) -> Assignment:
        engine = self.engine
        while True:
            # The newest snapshot, not the one of the request's arrival: whoever is dispatched after
            # the process heard of a kill gets stable, however long identify and predicates take.
            snapshot = engine.snapshot
            lane = snapshot.by_name[name]
            stale = engine.max_staleness is not None and engine.stale()
            if engine.plain and lane.simple and self.given is None and not stale:
                assignment = self._route_anonymous(lane, snapshot)
            elif (found := self._claimed(lane, snapshot)) is not None and not stale:
                assignment = found
            else:
                assignment = self._route(lane, stale=stale)
            if engine.snapshot is snapshot:
                return assignment

    def _route(self, lane: Lane, *, stale: bool) -> Assignment:
        engine = self.engine
        unready = lane.name in engine.unready
        override = self.given.overrides.get(lane.name) if self.given is not None else None
        debug = override is not None and override.debug
        if stale or unready or debug:
            reason = gate(lane, Standing(stale=stale, ready=not unready), debug=debug)
            if reason is not None:
                return lane.stable[reason]
        elif lane.closed is not None:
            return lane.closed
        visitor = self.visitor()
        if self.failed:
            return lane.stable[Reason.ERROR]
        if self._behind(lane):
            return lane.stable[Reason.STALE_CONTROL]
        if override is not None:
            # Nobody is drawn, and nothing is remembered of it when the token is over.
            place = Place(override=override.cohort, debug=debug)
        else:
            place = self._standing(lane, visitor)
        trace = None if self.traces is None else self.traces.setdefault(lane.name, [])
        try:
            decided = admit(lane, visitor, place, trace)
        except Exception as error:  # noqa: BLE001  # a predicate is the user's and may raise anything
            engine.faults.report("audience", error)
            return lane.stable[Reason.ERROR]
        self._remember(lane, visitor, place, decided)
        if decided.gauge is not None:
            self._throw(lane, decided, place.drawn)
        self._memorise(lane, decided)
        return decided

    def _memorise(self, lane: Lane, decided: Assignment) -> None:
        """Where nothing but the claim decided, it decides likewise until something changes."""
        held, track = self._claims.get(lane.name), lane.track
        if held is None or held.entry is None or track.denied or track.testers:
            return
        snapshot = self.engine.snapshot
        if snapshot.by_name[lane.name] is lane and self.traces is None:
            held.entry.memo = (snapshot.mark, decided)

    def _route_anonymous(self, lane: Lane, snapshot: Snapshot) -> Assignment:
        if lane.closed is not None:
            return lane.closed
        known = self._known if self._looked else self.known()
        if known is None:
            drawn = self._first_draw(lane)
            assignment = by_weight(lane, drawn)
            if assignment.gauge is not None:
                self._throw(lane, assignment, drawn)
            return assignment
        if known.reissue:
            self.issue = True
        memo = known.memo
        if memo[0] is not snapshot.mark:
            memo = known.memo = (snapshot.mark, {})
        assignment = by_weight(lane, known.drawn)
        if assignment.gauge is None or self._throw(lane, assignment, known.drawn):
            memo[1][lane.name] = assignment
        return assignment

    def _claimed(self, lane: Lane, snapshot: Snapshot) -> Assignment | None:
        """What the same claim gave under this snapshot before."""
        held = self._claims.get(lane.name)
        if held is None or held.entry is None or self.engine.unready:
            return None
        mark, assignment = held.entry.memo
        return assignment if mark is snapshot.mark else None

    def _note_late(self, lane: Lane) -> None:
        if not self._late:
            self._late = True
            self.engine.faults.warn(
                "late_exposure:" + lane.name,
                "rollout %s was read after the response had started (scope %s): its headers and "
                "cookie could not be set; read current(%r) earlier (logged once)",
                lane.name, lane.track.prefix, lane.name,
            )  # fmt: skip

    def cookie_line(self) -> str | None:
        """The Set-Cookie line, if something about the cookie changed."""
        if self.issue and self._known is not None:
            return self.engine.visitors.line(self._known.cookie, by_tls=self.view.by_tls())
        return None

    def keeps(self) -> bool:
        """Whether the answer has to carry a cookie although no rollout was read."""
        return self.given is not None and self.given.line is not None

    def token_lines(self) -> list[tuple[str, str]]:
        """What tokens add to an answer that no cache shares: their cookie, an explanation."""
        lines = []
        if self.given is not None and self.given.line is not None:
            lines.append(("Set-Cookie", self.given.line))
        if self.traces is not None and self.exposed:
            lines.append((EXPLAIN, self._explanation()))
        return lines

    def _explanation(self) -> str:
        traces = self.traces or {}
        told = (
            f"{one.rollout}: {one.cohort.value}, version {one.version}, reason {one.reason.value}"
            f" ({'; '.join(traces.get(one.rollout, ())) or 'gate'})"
            for one in self._assignments()
        )
        return ", ".join(told)[:EXPLAINED]

    def inputs(self) -> tuple[str, ...]:
        """Header names that the answer depends on beside Cookie; some may stand there twice."""
        return self.view.inputs + self.engine.vary

    def let_go(self, native: Any) -> None:
        """The request is over: see a copy instead of what holds this visit.

        Without a cycle all of a request is freed at its end, and the collector has nothing to find.
        A task that goes on may still have to identify by what the application put there.
        """
        if self._asked or self.engine.plain:
            self.view.native = native

    def tag(self, span: Any) -> None:
        """Remember a server span that started inside the request."""
        if self.spans is None:
            self.spans = []
        self.spans.append(span)

    def note_public(self) -> None:
        """The application made an exposed answer public: caches would give one to everybody."""
        prefix = self.match.lanes[0].track.prefix
        self.engine.faults.warn(
            "public_response:" + self.match.lanes[0].name,
            "an answer below %s that depends on the version is marked public: no cookie was set "
            "and caches will mix versions; drop `public` there or exclude the path (logged once)",
            prefix,
        )

    def again(self, why: Supersede, view: RequestView) -> Visit:
        """The visit of the second run, in which the lost canaries are stable."""
        lanes = self.engine.snapshot.by_name
        second = Visit(self.engine, self.match, view, self.outer, self.given)
        reason = Reason.ERROR if why is Supersede.RESCUE else Reason.KILL_SWITCH
        second._given = {**(self._given or {}), **{one.rollout: one for one in self._assignments()}}
        for found in self._lost(why):
            second._given[found.rollout] = lanes[found.rollout].stable[reason]
        second._asked, second._visitor, second.failed = self._asked, self._visitor, self.failed
        second._claims = self._claims
        second.traces = self.traces
        second._looked, second._known, second.issue = self._looked, self._known, self.issue
        second._told = self._told
        second.rescued = self.rescued or why is Supersede.RESCUE
        second._place, self._place = self._place, False
        second.span, second.leave, second.begun = self.span, self.leave, self.begun
        second.upload = self.upload
        self._hand_over(second)
        view.inputs = self.view.inputs
        if self.engine.observer is not None:
            self.engine.observer.repeated(second, second._given)
        return second

    def abandon(self, why: Supersede) -> None:
        """Book the first run of a superseded request: an outcome of its canaries alone."""
        if self.finished:
            return
        self.finished = self.abandoned = True
        engine = self.engine
        failed = why is Supersede.RESCUE and not self.crowded
        kind = OutcomeClass.RESCUED if failed else OutcomeClass.SUPERSEDED
        engine.recorder.running.pop(self, None)
        canaries = self._lost(why)
        seconds = engine.clock() - self.begun
        if self.measured:
            self._drop(canaries, kind)
        if self.overdue != TIMED_OUT:
            engine.recorder.end(canaries, kind, seconds)
        if engine.observer is not None:
            engine.observer.finished(self, canaries, kind, seconds)

    def _end_abandoned(self, kind: OutcomeClass) -> None:
        """No second run takes over what telemetry opened for an abandoned one."""
        if self.abandoned:
            self.abandoned = False
            if self.engine.observer is not None:
                self.engine.observer.finished(self, (), kind, 0.0)

    def finish(self, kind: OutcomeClass, seconds: float | None = None) -> None:
        """Book the outcome of every exposure, once; ``seconds`` is the visit's age by default."""
        if self._place:  # also that of a first run whose second run never came about
            self._place = False
            self.engine.recorder.leave_rescue()
        if self.finished:
            self._end_abandoned(kind)
            return
        self.finished = True
        if self.exposed or self.leave is not None:
            engine = self.engine
            if self.upload is not None:
                kind = self.blamed(kind)
            if seconds is None:
                seconds = engine.clock() - self.begun
            booked = self._outcomes() if self.rescued else self._assignments()
            engine.recorder.running.pop(self, None)
            if self.overdue != TIMED_OUT:  # which was booked when it was one
                engine.recorder.end(booked, kind, seconds, self.head)
            if self.measured and self._tells(kind):
                self._over(booked, kind)
            if engine.observer is not None:
                engine.observer.finished(self, booked, kind, seconds)

    def _tells(self, kind: OutcomeClass) -> bool:
        """The quick check that spares most requests the ledgers."""
        return (
            self.arrivals is not None
            or kind >= OutcomeClass.SERVER_ERROR
            or self.observed is not None
            or self.returned is not None
            or self.head > self.slow
        )

    def _outcomes(self) -> list[Assignment]:
        # What stable answered for a failed canary is the canary's outcome, booked by `abandon`.
        return [found for found in self._assignments() if found.reason is not Reason.ERROR]
