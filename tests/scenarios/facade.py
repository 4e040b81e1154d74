"""A facade on ``memory://`` for tests that build their own application."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from canary_middleware import Canary, Rollout
from canary_middleware.core.outcomes import OutcomeClass

KEY = "k" * 32


def facade(
    weight: str | None = "100%",
    settings: Mapping[str, Any] | None = None,
    more: Sequence[Rollout] = (),
    **rollout: Any,
) -> Canary:
    """The usual shop.

    Args:
        weight: at which the rollout stands; ``None``: not started.
        settings: arguments of the facade, instead of the usual ones.
        more: further rollouts.
        rollout: arguments of the rollout, instead of the usual ones.
    """
    given: dict[str, Any] = {
        "namespace": "shop",
        "secret_keys": [KEY],
        "autostart": weight,
        "telemetry": False,
        **(settings or {}),
    }
    declared = {"name": "checkout", "stable": "1", "canary": "2", **rollout}
    return Canary(Rollout(**declared), *more, **given)


def kill(canary: Canary, rollout: str = "checkout") -> None:
    """The kill switch, as an agent hears of it."""
    canary.store.kill(rollout, by="test", why="test", now=0.0)


def outcomes(canary: Canary) -> dict[str, int]:
    """Every outcome, as ``cohort class``."""
    found: Counter[str] = Counter()
    for series, cell in canary.engine.recorder.cells().items():
        for kind, count in enumerate(cell.counts):
            found[f"{series.cohort.value} {OutcomeClass(kind).label}"] += count
    return dict(+found)


def events(canary: Canary) -> dict[str, int]:
    """Every rare event."""
    return dict(+canary.engine.recorder.events)
