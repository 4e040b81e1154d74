"""How the values of charts are told, and how far their axes reach at least."""

from __future__ import annotations

from typing import Final

from canary_middleware.core.telling import latency
from canary_middleware.core.weight import FULL
from canary_middleware.overview.wording import percent
from canary_middleware.panel.charts.values import Unit


def _share(value: float) -> str:
    return "0%" if value <= 0 else percent(value)


def _count(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}" if value < 1_000 else f"{value:,.0f}"


def _per_second(value: float) -> str:
    return f"{_count(value)}/s"


def _seconds(value: float) -> str:
    return "0 ms" if value <= 0 else latency(value)


WEIGHT: Final = Unit(lambda value: _share(value / FULL), least=FULL, most=FULL)
SHARE: Final = Unit(_share, least=0.01, most=1.0)
RATE: Final = Unit(_per_second, least=1.0)
LATENCY: Final = Unit(_seconds, least=0.02)
COUNT: Final = Unit(_count, least=1.0)
