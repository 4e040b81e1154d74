"""Whose request it is: the verified cookie, who ``identify`` says it is, or a new visitor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING

from canary_middleware.core.model import Visitor
from canary_middleware.core.service import Told
from canary_middleware.core.snapshot import Match
from canary_middleware.engine.identity import Known, as_visitor
from canary_middleware.engine.overrides import Given
from canary_middleware.engine.views import RequestView

if TYPE_CHECKING:
    from canary_middleware.engine.engine import Engine
    from canary_middleware.engine.placing import Held


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
    _claims: dict[str, Held]

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
