"""Whose request it is: the verified cookie, who ``identify`` says it is, or a new visitor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED
from canary_middleware.core.claims import Ask, Claim, claim_key, contend
from canary_middleware.core.cookie import NOBODY, pin_tag
from canary_middleware.core.fetch import may_draw
from canary_middleware.core.model import Assignment, Cohort, Policy, Reason, Visitor
from canary_middleware.core.pins import Pin, renewed
from canary_middleware.core.routing import Drawn, Place, bucket_of
from canary_middleware.core.service import Told, upstream
from canary_middleware.core.snapshot import Lane, Match
from canary_middleware.engine.identity import Known, as_visitor
from canary_middleware.engine.overrides import Given
from canary_middleware.engine.views import RequestView

if TYPE_CHECKING:
    from canary_middleware.engine.engine import Engine


class Caller:
    """The side of a visit that knows who it belongs to; all of it is asked lazily, and once.

    Attributes:
        engine: the engine of the process.
        match: the lanes that cover the request.
        view: the request.
        given: the override tokens of the request, if any came.
        failed: ``identify`` raised.
        issue: the cookie has to be written.
    """

    # `_claims` holds, by rollout, what was asked of the store and what it said.

    # Set by the one subclass, which is made for every covered request: a second `__init__` costs
    # more than all that it would set.
    __slots__ = (
        "_asked", "_claims", "_known", "_looked", "_told", "_visitor", "engine", "failed", "given",
        "issue", "match", "view",
    )  # fmt: skip

    engine: Engine
    match: Match
    view: RequestView
    given: Given | None
    failed: bool
    issue: bool
    _asked: bool
    _looked: bool
    _known: Known | None
    _told: Mapping[str, Told] | None
    _visitor: Visitor | None
    _claims: dict[str, tuple[Ask, Claim]]

    def known(self) -> Known | None:
        """The visitor of the cookie, if it is genuine."""
        if not self._looked:
            known = self.engine.visitors.known(self.view.cookie_header())
            # No call between the look and the writing, so no other thread of the handler: what it
            # has found or drawn meanwhile stays.
            if not self._looked:
                self._known = known
                self._looked = True
        return self._known

    def visitor(self) -> Visitor | None:
        """Who ``identify`` says it is; asked once, and only if something depends on it."""
        if not self._asked:
            self._asked = True
            self.failed = True  # until it has answered: it may itself ask for current()
            identify = self.engine.identify
            try:
                self._visitor = as_visitor(identify(self.view) if identify is not None else None)
                self.failed = False
            except Exception as error:  # noqa: BLE001  # the user's hook may raise anything
                self.engine.faults.report("identify", error)
        return self._visitor

    def told(self) -> Mapping[str, Told]:
        """What a trusted calling service says of this visitor, by rollout; read once."""
        if self._told is None:
            self._told = self.engine.services.told(self.view)
        return self._told

    async def identify(self) -> None:
        """As :meth:`visitor` for an ``identify`` to be awaited, before the application runs."""
        if self._asked:
            return  # in the first run
        self._asked = True
        self.failed = True
        # Of the newest snapshot: the visit may have come before the process's first load.
        lanes = self.engine.snapshot.by_name
        if self.given is None and all(lanes[name].closed for name in self.match.names):
            return  # nothing depends on it; should a revive come meanwhile, stable is right
        identify = self.engine.identify
        try:
            found = identify(self.view) if identify is not None else None
            if inspect.isawaitable(found):
                found = await found
            self._visitor = as_visitor(found)
            self.failed = False
        except Exception as error:  # noqa: BLE001  # as in visitor()
            self.engine.faults.report("identify", error)

    # --- where the visitor stands -----------------------------------------------------------------

    def asks(self) -> list[Ask]:
        """What the store has to be asked before a version is chosen; empty for who is known here.

        With shared affinity only; a visitor who gets an id with this request is in no store yet.
        """
        wanted = []
        for covering in self.match.shared:
            # As everywhere the newest snapshot, not that of the arrival.
            lane = self.engine.snapshot.by_name[covering.name]
            settled = lane.closed is not None or lane.name in self._claims
            if settled or not lane.draws or not lane.shared:
                continue
            if self.given is not None and lane.name in self.given.overrides:
                continue
            if self._asked_for(lane) is not None:
                continue
            visitor = self.visitor()
            if self.failed or (visitor is None and self.known() is None):
                continue
            ask = self._ask(lane, visitor)
            claim = self.engine.claims.known(ask)
            if claim is None:
                wanted.append(ask)
            else:
                self._claims[lane.name] = ask, claim
        return wanted

    def answered(self, asks: Sequence[Ask], winners: Sequence[Claim] | None) -> None:
        """What the store said to :meth:`asks`; ``None`` if it said nothing in time."""
        if winners is not None:
            self.engine.claims.learn(asks, winners)
            self._claims.update(
                (ask.rollout, (ask, claim)) for ask, claim in zip(asks, winners, strict=True)
            )
            return
        # Better what this process still knows, of the user or of the browser, than nothing.
        remembered = self.engine.claims.remembered
        for ask in asks:
            origin = remembered(ask.origin) if ask.origin else None
            if ask.remembered is not None or origin is not None:
                self._claims[ask.rollout] = ask, contend(None, origin, ask)

    def _standing(self, lane: Lane, visitor: Visitor | None) -> Place:
        """Everything that decides between pin and weight."""
        now = self.engine.settings.wall()
        asked = self._asked_for(lane)
        if asked is not None:  # it decides, so that nobody is drawn
            return Place(now=now, upstream=asked)
        if lane.policy is Policy.REQUEST:
            return Place(self.engine.chance(), now=now)
        ask, claim = self._claims.get(lane.name, (None, None))
        if ask is None or claim is None:
            drawn = self._drawn(lane, visitor)
            pin = self._pin(lane, visitor) if lane.tag and not lane.shared else None
            return Place(drawn, pin, now=now)
        current = (claim.lineage, claim.epoch) == (lane.lineage, lane.epoch)
        return Place(
            claim.bucket,
            Pin(claim.cohort, claim.period) if current else None,
            overruled=ask.origin is not None and claim.bucket != ask.bucket,
            now=now,
        )

    def _asked_for(self, lane: Lane) -> Cohort | None:
        """The cohort that a calling service asks for."""
        return upstream(lane, self.told().get(lane.name)) if self.engine.services.believes else None

    def _behind(self, lane: Lane) -> bool:
        """Whether the store knows of an event that this process has not heard of yet."""
        _, claim = self._claims.get(lane.name, (None, None))
        return claim is not None and claim.lineage == lane.lineage and claim.epoch > lane.epoch

    def _remember(
        self, lane: Lane, visitor: Visitor | None, place: Place, decided: Assignment
    ) -> None:
        """Keep what was assigned, where the policy says so and nothing keeps it yet."""
        if decided.reason not in (Reason.WEIGHT, Reason.PIN):
            return
        if lane.shared:
            if lane.name not in self._claims and isinstance(place.drawn, Drawn) and lane.draws:
                self._claim_later(lane, visitor)
            return
        if not lane.tag:
            return
        held = place.pin if decided.reason is Reason.PIN else None
        served = Pin(decided.cohort, decided.period)
        pin = renewed(lane.pins, lane.session, served, held, place.now)
        known = self._known
        if pin is None:
            return
        if known is None:
            # Identified from the first request, so drawn by subject: the cookie only remembers.
            if visitor is None or not self._may_draw():
                return
            known = self.engine.visitors.draw()
            known = known.rewritten(known.cookie.bound(NOBODY))
        cookie = known.cookie.pinned(self._tag(lane, visitor, known), pin)
        self._known = known.rewritten(cookie)
        self.issue = True

    def _ask(self, lane: Lane, visitor: Visitor | None) -> Ask:
        """The question of one lane about this visitor."""
        drawn = self._drawn(lane, visitor)
        assert drawn is not None  # noqa: S101  # narrows; who is neither known nor identified never asks
        key = lane.track.key
        own = origin = claim_key(key, drawn.kind, drawn.subject)
        if visitor is not None:
            own = claim_key(key, IDENTIFIED, visitor.subject)
        return Ask(
            rollout=lane.name,
            key=own,
            origin=origin if drawn.kind == ANONYMOUS and origin != own else None,
            lineage=lane.lineage,
            epoch=lane.epoch,
            period=lane.period,
            limit=lane.limit,
            bucket=bucket_of(lane, drawn),
            raises=lane.policy is Policy.KEEP,
            life=lane.life,
            remembered=self.engine.claims.remembered(own),
        )

    def _claim_later(self, lane: Lane, visitor: Visitor | None) -> None:
        # Nobody else can have claimed for an id that was drawn just now, so nobody waits for it.
        if visitor is None and self._known is not None:
            self.engine.claims.later(self._ask(lane, None))

    def _pin(self, lane: Lane, visitor: Visitor | None) -> Pin | None:
        known = self._known
        return None if known is None else known.cookie.pin(self._tag(lane, visitor, known))

    def _tag(self, lane: Lane, visitor: Visitor | None, known: Known) -> str:
        """What the pin stands under: two users of one browser have one each."""
        if visitor is None:
            return lane.tag
        binding = self.engine.visitors.binding(visitor)
        if known.cookie.binding in ("", binding):
            return lane.tag
        return pin_tag(lane.track.key, lane.name, lane.lineage, lane.epoch, binding)

    def _drawn(self, lane: Lane, visitor: Visitor | None) -> Drawn | None:
        """What to draw by; the first draw wins: a browser keeps its bucket after sign-in."""
        known = self._known if self._looked else self.known()
        if visitor is None:
            if known is None:
                return self._first_draw(lane)
            self.issue = self.issue or known.reissue
            return known.drawn
        if known is None:
            return Drawn(IDENTIFIED, visitor.subject)
        binding = self.engine.visitors.binding(visitor)
        if known.cookie.binding not in ("", binding):
            return Drawn.identified(visitor)
        if not known.cookie.binding:
            self._known = known = known.rewritten(known.cookie.bound(binding))
        self.issue = self.issue or known.reissue
        return known.drawn

    def _first_draw(self, lane: Lane) -> Drawn | None:
        """A new id where one is needed and this request may draw it."""
        if not lane.draws or not self._may_draw():
            return None
        drawn = self.engine.visitors.draw()
        if self._known is None:  # as in known()
            self._known = drawn
            self.issue = True
        return self._known.drawn

    def _may_draw(self) -> bool:
        return may_draw(self.view.method, *self.view.fetch_metadata())
