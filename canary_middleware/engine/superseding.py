"""The side of a visit that may be taken from its canary: by a kill, or by a rescue."""

from __future__ import annotations

from typing import Final

from canary_middleware.core.model import Assignment, Reason
from canary_middleware.core.rescue import Supersede
from canary_middleware.core.snapshot import Track
from canary_middleware.engine.measured import Measured

KILLED: Final = Reason.KILL_SWITCH


class Superseding(Measured):
    """Whether stable has to answer in place of a canary, and of which.

    Attributes:
        canary: some exposed assignment is canary.
        rescued: this is the second run of a request whose canary failed.
        target: the application that the whole request was given to, ``None`` before. What an
            upstream somewhere inside of it has not seen, the application may have acted on.
        unsent: the canary's upstream could not be reached, and nothing of the request was read.
            Whether that is so because all our connections to it are in use says ``crowded``: then
            the version has not failed, whoever holds them.
    """

    __slots__ = ("_place", "canary", "rescued", "target", "unsent")

    canary: bool
    rescued: bool
    target: object
    unsent: bool
    _place: bool

    def supersede(self, status: int) -> Supersede | None:
        """Whether the canary answer about to start must be abandoned; takes a place in the budget.

        Args:
            status: of the answer, or 599 for a canary that raised.
        """
        if self.killed():
            return Supersede.KILL
        if self.rescued or status < 500 or self.is_clients():
            return None
        tracks = self._tracks()
        if not all(track.rollout.rescue.enabled for track in tracks):
            return None
        if "" in self.engine.silences:  # stable is another server, which is not there
            return None
        if self.unsent:  # it runs once only, so that it adds no load that a budget has to bound
            return Supersede.RESCUE
        share = min(track.rescue_share for track in tracks)
        self._place = self.engine.recorder.enter_rescue(share)
        return Supersede.RESCUE if self._place else None

    def replayable(self) -> bool:
        """Whether it may run once more: every canary lane lets it, or it has not run."""
        return self.unsent or all(self._repeats(track) for track in self._tracks())

    def may_repeat(self) -> bool:
        """Whether some covered lane lets the request run twice, whatever becomes of it."""
        match = self.match
        if self.view.method in match.replay_methods:
            return True
        return match.keyed and any(self._repeats(lane.track) for lane in match.lanes)

    def _repeats(self, track: Track) -> bool:
        if self.view.method in track.rescue_methods:
            return True
        keyed = track.rescue_keyed
        return keyed is not None and keyed.cover(self.view.path) and self.view.keyed()

    def _tracks(self) -> list[Track]:
        names = {found.rollout for found in self._canaries()}
        return [lane.track for lane in self.match.lanes if lane.name in names]

    def killed(self) -> bool:
        """Whether a kill has arrived for a canary that this visit is on."""
        lanes = self.engine.snapshot.by_name
        for found in self._assignments():
            if found.is_canary and lanes[found.rollout].gate is KILLED:
                return True
        return False

    def _killed(self) -> list[Assignment]:
        lanes = self.engine.snapshot.by_name
        return [one for one in self._canaries() if lanes[one.rollout].gate is KILLED]

    def doubtful(self, status: int) -> bool:
        """Whether an answer may be superseded: the quick check that spares most the rest."""
        return self.canary and (status >= 500 or self.killed())

    def _canaries(self) -> list[Assignment]:
        return [found for found in self._assignments() if found.is_canary]

    def _assignments(self) -> list[Assignment]:
        # A copy in one operation: threads of an abandoned handler go on and expose more.
        return [*self.exposed.values()]

    def _lost(self, why: Supersede) -> list[Assignment]:
        """The canaries that stable answers for: those that were killed, or all that failed."""
        # None is killed any more where a revive came in between; then it was one of them.
        return (self._killed() if why is Supersede.KILL else []) or self._canaries()
