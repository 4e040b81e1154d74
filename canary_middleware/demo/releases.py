"""The three releases: how each is to go out, and what is wrong with one of them."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Final

from canary_middleware import Guard, Ramp, Rollout, Step, observe
from canary_middleware.demo.words import CHARGES, CHECKOUT, DOUBLE, PAY, SEARCH, TWICE, Part

OWNER: Final = "you"
SAMPLES: Final = 5
"""Canary visitors per step; a demo has no thousands of them."""


def rollouts(pace: int) -> tuple[Rollout, ...]:
    """What both shops declare.

    Args:
        pace: seconds for which a weight is held at least.
    """
    errors = Guard.errors(margin="3%")
    once = Guard.never(CHARGES, name=TWICE)
    return (
        replace(_rollout(CHECKOUT, _ramp(pace), errors, Guard.latency(margin=None)), alpha="0.1%"),
        # Payments go out more slowly: what is found while few have it hits few.
        _rollout(PAY, _ramp(pace, first=4 * pace), errors, once),
        _rollout(SEARCH, _ramp(pace), errors),
    )


def _rollout(part: Part, ramp: Ramp, *guards: Guard) -> Rollout:
    return Rollout(
        part.name, stable=part.stable, canary=part.canary, paths=[part.path], owner=OWNER,
        ramp=ramp, guards=guards,
    )  # fmt: skip


def _ramp(pace: int, first: int | None = None) -> Ramp:
    """With too few visitors for a proof it goes on after a while, and history says which it was."""
    return Ramp(
        Step("5%", bake=f"{first or pace}s"), "25%", "50%", "100%",
        bake=f"{pace}s", samples=SAMPLES, on_inconclusive="promote", patience=f"{4 * pace}s",
    )  # fmt: skip


def charge(*, new: bool) -> int:
    """Charge one order; returns how often that was done.

    The new version takes a slow answer of the bank for none and asks again.
    """
    times = 2 if new and random.random() < DOUBLE else 1
    for _ in range(times):
        observe(CHARGES)
    return times
