"""Interleaved timing: one round of each contender after the other, many rounds, medians.

Machines drift; two contenders measured one after the other in the same second drift together.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from statistics import median

ROUNDS = 21


def interleaved(
    contenders: Mapping[str, Callable[[], object]], calls: int, rounds: int = ROUNDS
) -> dict[str, float]:
    """Median seconds per call of each contender."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            begun = time.perf_counter()
            for _ in range(calls):
                call()
            samples[name].append((time.perf_counter() - begun) / calls)
    return {name: median(values) for name, values in samples.items()}


async def interleaved_async(
    contenders: Mapping[str, Callable[[], Awaitable[object]]], calls: int, rounds: int = ROUNDS
) -> dict[str, float]:
    """As :func:`interleaved` for coroutine functions."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            begun = time.perf_counter()
            for _ in range(calls):
                await call()
            samples[name].append((time.perf_counter() - begun) / calls)
    return {name: median(values) for name, values in samples.items()}


def ratio_line(title: str, ours: float, peer: float, target: float, peer_name: str) -> str:
    """One printed line: what, our microseconds, the peer's, the ratio and its target."""
    ratio = ours / peer
    mark = "ok  " if ratio <= target else "OVER"
    return (
        f"{mark} {title:<44} {ours * 1e6:8.2f} µs  / {peer_name} {peer * 1e6:8.2f} µs"
        f"  = {ratio:6.3f}  (target {target})"
    )
