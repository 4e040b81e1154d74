"""How an upstream is talked to: time-outs, bounds, header rules."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

from canary_middleware.errors import ConfigurationError, Problem

LONGEST: Final = 86_400.0
"""Seconds that any time-out may last: no wait is without an end."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; each ends a wait, none is infinite.

    Attributes:
        connect: until a connection stands, TLS included; also for a free one of the pool.
        start: from the last byte of the request until the head of the answer.
        idle: between two pieces of a body, in either direction.
        total: of a whole exchange. Streams that shall live longer need a larger one.

    Raises:
        ConfigurationError: one of them is not between 0 and a day.
    """

    connect: float = 2.0
    start: float = 30.0
    idle: float = 60.0
    total: float = 600.0

    def __post_init__(self) -> None:
        problems = [
            Problem(
                f"timeouts.{field.name}",
                f"{value!r} is not a number of seconds above 0 and up to {LONGEST:.0f}",
                "every wait must end; give the longest that a client would wait",
            )
            for field in fields(self)
            if not _is_seconds(value := getattr(self, field.name))
        ]
        if problems:
            raise ConfigurationError(problems)


def _is_seconds(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value) and 0 < value <= LONGEST
