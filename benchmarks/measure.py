"""Interleaved timing: one round of each contender after the other, many rounds, medians.

Machines drift; two contenders measured one after the other in the same second drift together.
Counted is the CPU time of the measuring thread, so that whatever else runs on the machine is
charged to nobody.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Mapping
from statistics import median
from time import thread_time

ROUNDS = 41
CALLS = 1000


def interleaved(
    contenders: Mapping[str, Callable[[], object]], calls: int = CALLS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Median seconds per call of each contender."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            begun = thread_time()
            for _ in range(calls):
                call()
            samples[name].append((thread_time() - begun) / calls)
    return {name: median(values) for name, values in samples.items()}


async def interleaved_async(
    contenders: Mapping[str, Callable[[], Awaitable[object]]],
    calls: int = CALLS,
    rounds: int = ROUNDS,
) -> dict[str, float]:
    """As :func:`interleaved` for coroutine functions."""
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            gc.collect()
            begun = thread_time()
            for _ in range(calls):
                await call()
            samples[name].append((thread_time() - begun) / calls)
    return {name: median(values) for name, values in samples.items()}


def ratio_line(title: str, ours: float, peer: float, target: float | None, peer_name: str) -> str:
    """One printed line: what, our microseconds, the peer's, the ratio and its target if any."""
    ratio = ours / peer
    mark = "    " if target is None else "ok  " if ratio <= target else "OVER"
    aim = "" if target is None else f"  (target {target})"
    return (
        f"{mark} {title:<34} {ours * 1e6:8.2f} µs / {peer * 1e6:8.2f} µs {peer_name:<21}"
        f" = {ratio:6.3f}{aim}"
    )
