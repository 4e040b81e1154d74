"""Where a visitor stands in a lane: the bucket, what is remembered, and what is remembered next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from canary_middleware.core import draining
from canary_middleware.core.bucket import IDENTIFIED
from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.cookie import NOBODY, pin_tag
from canary_middleware.core.fetch import may_draw
from canary_middleware.core.model import Assignment, Cohort, Policy, Reason, Visitor
from canary_middleware.core.pins import Pin, renewed
from canary_middleware.core.routing import Drawn, Place, bucket_of
from canary_middleware.core.service import upstream
from canary_middleware.core.snapshot import Lane
from canary_middleware.engine.caller import Caller
from canary_middleware.engine.claims import Entry
from canary_middleware.engine.identity import Known


class Held(NamedTuple):
    """What is known of a subject in the store of one lane.

    Attributes:
        claim: what it says.
        overruled: the draw of this browser lost to an older claim of the user.
        entry: of this process's memory, where nothing but it decides.
    """

    claim: Claim
    overruled: bool = False
    entry: Entry | None = None


class Placing(Caller):
    """The side of a visit that knows where the caller stands in each lane."""

    __slots__ = ()

    def asks(self) -> list[Ask]:
        """What the store has to be asked before a version is chosen; empty for who is known here.

        With shared affinity only; a visitor who gets an id with this request is in no store yet.
        """
        wanted: list[Ask] = []
        for covering in self.match.shared:
            # As everywhere the newest snapshot, not that of the arrival.
            lane = self.engine.snapshot.by_name[covering.name]
            if lane.closed is None and lane.draws and lane.shared and self._open(lane):
                self._look(lane, wanted)
        return wanted

    def _open(self, lane: Lane) -> bool:
        """Whether nothing above a claim decides, as far as that is known without any work."""
        if lane.name in self._claims:
            return False
        if self.given is not None and lane.name in self.given.overrides:
            return False
        return self._asked_for(lane) is None

    def _look(self, lane: Lane, wanted: list[Ask]) -> None:
        """Find the claim in this process's memory, or else ask for it."""
        visitor = self.visitor()
        if self.failed:
            return
        claims = self.engine.claims
        known = self._known if self._looked else self.known()
        if visitor is None and known is None:
            return  # nobody yet
        drawn = sole(visitor, known)
        if drawn is not None:
            if known is not None and known.reissue:
                self.issue = True
            key = claims.key(lane.track.key, drawn.kind, drawn.subject)
            entry = claims.fresh(lane, key)
            if entry is not None:
                self._claims[lane.name] = Held(entry.claim, entry=entry)
                return
            ask = self._question(lane, drawn, key, None)
        else:
            ask = self._ask(lane, visitor)
        claim = claims.known(ask)
        if claim is None:
            wanted.append(ask)
        else:
            self._claims[lane.name] = Held(claim, overruled(ask, claim))

    def answered(self, asks: Sequence[Ask], winners: Sequence[Claim] | None) -> None:
        """What the store said to :meth:`asks`; ``None`` if it said nothing in time."""
        if winners is not None:
            self.engine.claims.learn(asks, winners)
            for ask, claim in zip(asks, winners, strict=True):
                self._claims[ask.rollout] = Held(claim, overruled(ask, claim))
            return
        # Better what this process still knows, of the user or of the browser, than nothing; and
        # whoever is served without the store is told to it, or the next move of the weight would
        # move somebody who was exposed.
        claims = self.engine.claims
        for ask in asks:
            origin = claims.remembered(ask.origin) if ask.origin else None
            claim = contend(None, origin, ask)
            if claim != ask.remembered:
                claims.later(ask, claim)
            self._claims[ask.rollout] = Held(claim, overruled(ask, claim))

    def _standing(self, lane: Lane, visitor: Visitor | None) -> Place:
        """Everything that decides between pin and weight."""
        now = self.engine.settings.wall()
        asked = self._asked_for(lane)
        if asked is not None:  # it decides, so that nobody is drawn
            return Place(now=now, upstream=asked)
        if lane.policy is Policy.REQUEST:
            return Place(self.engine.chance(), now=now)
        held = self._claims.get(lane.name)
        if held is None:
            drawn = self._drawn(lane, visitor)
            pin = self._pin(lane, visitor) if lane.tag and not lane.shared else None
            return Place(drawn, pin, now=now)
        claim = held.claim
        current = (claim.lineage, claim.epoch) == (lane.lineage, lane.epoch)
        pin = Pin(claim.cohort, claim.period) if current else None
        return Place(claim.bucket, pin, overruled=held.overruled, now=now)

    def stands(self, given: Assignment) -> Place:
        """Where the caller stands whose stream is open; nobody is asked or drawn for it."""
        override = self.given.overrides.get(given.rollout) if self.given is not None else None
        debug = override is not None and override.debug
        return draining.place(given, self._bucket(given.rollout), debug=debug)

    def _bucket(self, name: str) -> int | None:
        lane, held = self.engine.snapshot.by_name[name], self._claims.get(name)
        if held is not None:
            return held.claim.bucket
        known = self._known if self._looked else self.known()
        unasked = self.engine.identify is not None and not self._asked
        nobody = known is None and self._visitor is None
        if lane.policy is Policy.REQUEST or unasked or self.failed or nobody:
            return None
        drawn = self._drawn(lane, self._visitor)
        return None if drawn is None else bucket_of(lane, drawn)

    def _asked_for(self, lane: Lane) -> Cohort | None:
        """The cohort that a calling service asks for."""
        return upstream(lane, self.told().get(lane.name)) if self.engine.services.believes else None

    def _behind(self, lane: Lane) -> bool:
        """Whether the store knows of an event that this process has not heard of yet."""
        held = self._claims.get(lane.name)
        if held is None:
            return False
        return held.claim.lineage == lane.lineage and held.claim.epoch > lane.epoch

    def _remember(
        self, lane: Lane, visitor: Visitor | None, place: Place, decided: Assignment
    ) -> None:
        """Keep what was assigned, where the policy says so and nothing keeps it yet."""
        if decided.reason not in (Reason.WEIGHT, Reason.PIN):
            return
        if lane.shared:
            if lane.draws and self._unwritten(lane, place, decided):
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
        key, claims = lane.track.key, self.engine.claims
        own = origin = claims.key(key, drawn.kind, drawn.subject)
        if visitor is not None:
            own = claims.key(key, IDENTIFIED, visitor.subject)
        return self._question(lane, drawn, own, origin if origin != own else None)

    def _question(self, lane: Lane, drawn: Drawn, key: str, origin: str | None) -> Ask:
        # By position: a first sight makes one, and naming each costs a third of it.
        return Ask(
            lane.name, key, origin, lane.lineage, lane.epoch, lane.period, lane.limit,
            bucket_of(lane, drawn), lane.policy is Policy.KEEP, lane.life,
            self.engine.claims.remembered(key),
        )  # fmt: skip

    def _unwritten(self, lane: Lane, place: Place, decided: Assignment) -> bool:
        """Whether the store does not know yet what is served: nobody waits for that.

        Nobody else can have claimed for an id that was drawn just now; a store that did not answer
        is told when it does; and the weight, or a revive, may have come between arrival and here.
        """
        held = self._claims.get(lane.name)
        if held is None:
            return isinstance(place.drawn, Drawn)
        claim = held.claim
        if (claim.lineage, claim.epoch) != (lane.lineage, lane.epoch):
            return True
        return decided.cohort in lane.pins and claim.cohort is not decided.cohort

    def _claim_later(self, lane: Lane, visitor: Visitor | None) -> None:
        if visitor is not None or self._known is not None:
            self.engine.claims.later(self._ask(lane, visitor))

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


def sole(visitor: Visitor | None, known: Known | None) -> Drawn | None:
    """Who has one subject only, and so no other one whose place it could take over."""
    if known is None:
        return Drawn.identified(visitor) if visitor is not None else None
    return known.drawn if visitor is None else None


def overruled(ask: Ask, claim: Claim) -> bool:
    """Whether the draw of this browser lost to an older claim."""
    return ask.origin is not None and claim.bucket != ask.bucket
