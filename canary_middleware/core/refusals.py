"""What a verb that does not fit is answered: why not, and the command that works instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from canary_middleware.core.state import ACTIVE, Phase, Verb


@dataclass(frozen=True, slots=True)
class Refusal:
    """A verb does not fit a phase; what to do instead."""

    hint: str


NAME: Final = "ROLLOUT"
WEIGHT: Final = "WEIGHT"
"""Stand in hints for what the caller said."""
_SET: Final = "set a share with `canary weight ROLLOUT WEIGHT`"
END: Final = "end it with `canary promote ROLLOUT` or `canary rollback ROLLOUT`"
WITHOUT_RAMP: Final = f"{_SET}, or {END}"
HINTS: Final[Mapping[Phase, str]] = {
    Phase.IDLE: "begin it with `canary start ROLLOUT`",
    Phase.RAMPING: f"stop its ramp with `canary pause ROLLOUT`, or {_SET}",
    Phase.PAUSED: f"go on with `canary resume ROLLOUT`, or {_SET}",
    Phase.HOLDING: f"stop with `canary pause ROLLOUT`, or {_SET}",
    Phase.AWAITING_APPROVAL: "go on with `canary approve ROLLOUT`, stop with `canary pause "
    f"ROLLOUT`, or {END}",
    Phase.PROMOTED: "`canary finish ROLLOUT` closes it after its rollback window, "
    "`canary rollback ROLLOUT` takes it back",
    Phase.FINISHED: "ship the next change under a new canary label",
    Phase.ROLLED_BACK: "start it again knowingly with `canary start ROLLOUT --again`",
}
_NOTHING_BACK: Final = "there is nothing to take back: everybody is on stable"
EARLY: Final = "`canary rollback ROLLOUT` takes it back, `canary finish ROLLOUT --early` closes it"
GATED: Final = (
    "skip it knowingly with `canary resume ROLLOUT --skip-approval`, or go back below it with "
    "`canary weight ROLLOUT WEIGHT`"
)
DRILLING: Final = "wait until it is over, or end it with `canary drill ROLLOUT --stop`"
_CLOSE: Final = "it closes what is promoted: `canary promote ROLLOUT` first"
_FEWER: Final = "`canary weight ROLLOUT 0%` draws nobody any more"
_NOBODY: Final = "`canary rollback ROLLOUT` takes everybody off"
_OWN_HINTS: Final[Mapping[tuple[Phase, Verb], str]] = {
    **{(phase, Verb.FINISH): _CLOSE for phase in ACTIVE},
    (Phase.IDLE, Verb.ROLLBACK): _NOTHING_BACK,
    (Phase.ROLLED_BACK, Verb.ROLLBACK): _NOTHING_BACK,
    (Phase.IDLE, Verb.WEIGHT): "begin it with `canary start ROLLOUT --weight WEIGHT`",
    (Phase.PAUSED, Verb.PAUSE): f"its share is still served; {_FEWER}, {_NOBODY}",
}
"""Where the hint of the phase would lead in a circle."""


def refusal(phase: Phase, verb: Verb) -> Refusal:
    """What to do instead of a verb in a phase that does not know it."""
    return Refusal(_OWN_HINTS.get((phase, verb), HINTS[phase]))


def unfit(verb: Verb, release: str, phase: Phase) -> str:
    """Why a verb is refused that a release is in no phase for."""
    return f"`{verb.value}` does not fit: {release} is {words(phase)}"


def words(phase: Phase) -> str:
    """A phase as people read it."""
    return phase.value.replace("_", " ")
