"""All checks of one look, the worst finding first."""

from __future__ import annotations

from canary_middleware.doctor import fleet, local, processes, rollouts, spans, store
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding


def diagnose(seen: Examined) -> tuple[Finding, ...]:
    """Everything that was found, areas in the order of a first question to the last."""
    return (
        *store.check(seen),
        *processes.check(seen),
        *fleet.check_clocks(seen),
        *fleet.check_keys(seen),
        *fleet.check_cookies(seen),
        *spans.check(seen),
        *rollouts.check(seen),
        *local.check_configuration(seen),
        *local.check_code(seen),
    )


def sorted_by_level(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """The worst first; of one level in the order in which they were found."""
    return tuple(sorted(findings, key=lambda one: -one.level))
