"""Whose request it is: the verified cookie, who ``identify`` says it is, or a new visitor."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from canary_middleware.core.bucket import IDENTIFIED
from canary_middleware.core.fetch import may_draw
from canary_middleware.core.model import Visitor
from canary_middleware.core.routing import Drawn, needs_bucket
from canary_middleware.core.snapshot import Lane, Match
from canary_middleware.engine.identity import Known, as_visitor
from canary_middleware.engine.views import RequestView

if TYPE_CHECKING:
    from canary_middleware.engine.engine import Engine


class Caller:
    """The side of a visit that knows who it belongs to; all of it is asked lazily, and once.

    Attributes:
        engine: the engine of the process.
        match: the lanes that cover the request.
        view: the request.
        failed: ``identify`` raised.
        issue: the cookie has to be written.
    """

    # Set by the one subclass, which is made for every covered request: a second `__init__` costs
    # more than all that it would set.
    __slots__ = (
        "_asked", "_known", "_looked", "_visitor", "engine", "failed", "issue", "match", "view",
    )  # fmt: skip

    engine: Engine
    match: Match
    view: RequestView
    failed: bool
    issue: bool
    _asked: bool
    _looked: bool
    _known: Known | None
    _visitor: Visitor | None

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

    async def identify(self) -> None:
        """As :meth:`visitor` for an ``identify`` to be awaited, before the application runs."""
        if self._asked:
            return  # in the first run
        self._asked = True
        self.failed = True
        # Of the newest snapshot: the visit may have come before the process's first load.
        lanes = self.engine.snapshot.by_name
        if all(lanes[name].closed is not None for name in self.match.names):
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
            self._known = known = known.rebound(binding)
        self.issue = self.issue or known.reissue
        return known.drawn

    def _first_draw(self, lane: Lane) -> Drawn | None:
        """A new id where one is needed and this request may draw it."""
        if not needs_bucket(lane) or not may_draw(self.view.method, *self.view.fetch_metadata()):
            return None
        drawn = self.engine.visitors.draw()
        if self._known is None:  # as in known()
            self._known = drawn
            self.issue = True
        return self._known.drawn
