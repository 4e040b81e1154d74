"""Points of charts and cursors in Redis."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from canary_middleware.errors import StoreCorruptError, StoreUnavailableError
from canary_middleware.stores.redis_affinity import Call, Scripted
from canary_middleware.stores.series import (
    CURSOR_LIFE,
    LIFE,
    MAX_ANSWER,
    MAX_CURSOR,
    MAX_POINT,
    MAX_SLOT,
    POINTS,
    Points,
    checked,
    checked_cursor,
    read_cursor,
)

_PAGE: Final = 1_000
"""Points of one script: some milliseconds of the server."""


class RedisSeries(Scripted):
    """See :class:`~canary_middleware.stores.protocol.SeriesStore`."""

    def append(self, rollout: str, slot: int, data: bytes) -> None:
        """One script."""
        checked(slot, data)
        self._series(rollout, [LIFE, POINTS, slot, data])

    def series(self, rollout: str, since: int = 0) -> Points:
        """A script per thousand points."""
        found: deque[tuple[int, bytes]] = deque()
        size = 0
        for _ in range(0, POINTS, _PAGE):
            page = _points(self._series(rollout, [since, _PAGE, MAX_POINT]), since)
            found += page
            size += sum(len(data) for _, data in page)
            while size > MAX_ANSWER:
                size -= len(found.popleft()[1])
            if len(page) < _PAGE:
                break
            since = page[-1][0]
        return list(found)

    def _series(self, rollout: str, arguments: list[str | int | bytes]) -> object:
        keys = [f"{self._tag}:{kind}:{rollout}" for kind in ("series", "slots")]
        return self._evaluate(Call(self._texts["series"], keys, arguments))


class RedisOutbox(Scripted):
    """See :class:`~canary_middleware.stores.protocol.Outbox`."""

    def cursor(self, hook: str) -> str | None:
        """One script."""
        return read_cursor(self._outbox(hook, [MAX_CURSOR]))

    def advance(self, hook: str, before: str | None, after: str) -> bool:
        """One script."""
        checked_cursor(hook, after)
        return self._outbox(hook, [MAX_CURSOR, CURSOR_LIFE, before or "", after]) == 1

    def _outbox(self, hook: str, arguments: list[str | int | bytes]) -> object:
        return self._evaluate(
            Call(self._texts["outbox"], [f"{self._tag}:outbox:{hook}"], arguments)
        )


def _points(answer: Any, since: int) -> Points:
    if not isinstance(answer, list) or len(answer) % 2:
        raise StoreUnavailableError("the server does not answer as our script of points does")
    points: Points = []
    for slot, data in zip(answer[::2], answer[1::2], strict=True):
        text = slot.decode(errors="replace") if isinstance(slot, bytes) else ""
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 16 else 0
        if not since < number <= MAX_SLOT or not isinstance(data, bytes):
            raise StoreCorruptError("a point of a chart is none of ours")
        points.append((number, data))
        since = number
    return points
