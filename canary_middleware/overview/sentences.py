"""Where a release stands and who gets what, in one line that is true under every policy."""

from __future__ import annotations

from canary_middleware.core.model import Policy
from canary_middleware.core.state import Entry, Phase, RolloutState
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.overview.wording import shown


def sentence(rollout: str, state: RolloutState, entry: Entry) -> str:
    """One release of a rollout, which need not be the current one."""
    phase = entry.phase.value.replace("_", " ")
    where = f"{phase} at {format_weight(entry.weight)}"
    if entry.release == state.current:
        return shown(f"{rollout}: {where}: {_served(entry)}{_off(rollout, entry)}")
    said = f"{rollout} {entry.release}: {where}: where that is declared, {_served(entry)}"
    return shown(f"{said}; current is {_current(state, entry)}")


def _served(entry: Entry) -> str:
    release, stable, held = entry.release, entry.stable, _held(entry)
    if entry.phase is Phase.ROLLED_BACK:
        return f"{stable} for everybody"
    if entry.weight == FULL:
        return f"{release} for everybody{_sessions(held)}"
    if entry.weight == 0 and held is None:
        return f"{stable} for everybody, {release} for testers only"
    seen = " and those who have seen it (policy keep)" if held is Policy.KEEP else ""
    whom = "testers" if entry.weight == 0 else f"{format_weight(entry.weight)} of {_drawn(entry)}"
    return f"{release} for {whom}{seen}, {stable} for the others{_sessions(held)}"


def _held(entry: Entry) -> Policy | None:
    """The policy, if somebody may be held elsewhere than where the weight would put him."""
    # Pins are of one epoch, and the first weight in it is the one that they were drawn under.
    moved = entry.period != entry.epoch and entry.phase is not Phase.FINISHED
    return (
        entry.plan.policy if moved and entry.plan.policy in (Policy.KEEP, Policy.SESSION) else None
    )


def _sessions(held: Policy | None) -> str:
    return "; open sessions stay where they are (policy session)" if held is Policy.SESSION else ""


def _drawn(entry: Entry) -> str:
    return "requests" if entry.plan.policy is Policy.REQUEST else "visitors"


def _off(rollout: str, entry: Entry) -> str:
    if entry.weight or _held(entry) is None or entry.phase is Phase.ROLLED_BACK:
        return ""
    return f"; `canary rollback {rollout}` or `canary kill {rollout}` takes everybody off"


def _current(state: RolloutState, entry: Entry) -> str:
    current = state.entries[state.current] if state.current else None
    if current is None:
        return "none"
    stable = current.stable == entry.release
    return f"{current.release}{f', which has {entry.release} as its stable side' if stable else ''}"
