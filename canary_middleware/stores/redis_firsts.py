"""First events in Redis."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.firsts import Count, entrances, steps
from canary_middleware.stores.protocol import Entered, First
from canary_middleware.stores.redis_affinity import Call, Scripted

_LETTERS: Final = {Cohort.CANARY: "c", Cohort.STABLE: "s"}
_COHORTS: Final = {letter: cohort for cohort, letter in _LETTERS.items()}
_COUNT: Final = re.compile(r"(\d{1,16}):([cs]):(\d{1,16})", re.ASCII)


class RedisFirsts(Scripted):
    """See :class:`~canary_middleware.stores.protocol.Firsts`."""

    def first(self, rollout: str, release: str, run: int, events: Sequence[First]) -> None:
        """One script per 500 events."""
        for step in steps(events):
            self._firsts(rollout, release, run, [_text(event) for event in step])

    def firsts(self, rollout: str, release: str, run: int) -> dict[Count, int]:
        """One script."""
        answer = self._firsts(rollout, release, run, [])
        try:
            return dict(_counts(answer))
        except (TypeError, ValueError, AttributeError) as error:
            why = "the server does not answer as our script of first events does"
            raise StoreUnavailableError(why) from error

    def enter(
        self, rollout: str, release: str, run: int, batch: str, entries: Sequence[Entered]
    ) -> list[bool]:
        """One script per 500 entries."""
        place = f"{self._tag}:entered:{rollout}:{release}:{run}"
        answers: list[bool] = []
        for step in entrances(batch, entries):
            told = [f"{entry.period}:{entry.visitor}" for entry in step]
            keys = [place, f"{place}:other"]
            answer = self._evaluate(Call(self._texts["entered"], keys, [batch, *told]))
            if not isinstance(answer, list) or len(answer) != len(told):
                why = "the server does not answer as our script of entries does"
                raise StoreUnavailableError(why)
            answers += [first == 1 for first in answer]
        return answers

    def _firsts(self, rollout: str, release: str, run: int, events: Sequence[str]) -> object:
        # Neither a rollout's name nor a number has a colon, so no two runs share a key.
        key = f"{self._tag}:firsts:{rollout}:{release}:{run}"
        return self._evaluate(Call(self._texts["firsts"], [key], events))


def _text(event: First) -> str:
    return f"{event.kind} {event.visitor} {event.period} {_LETTERS[event.cohort]}"


def _counts(answer: Any) -> Iterator[tuple[Count, int]]:
    for kind, line in zip(answer[::2], answer[1::2], strict=True):
        for text in line.decode().split(" ")[2:]:
            found = _COUNT.fullmatch(text)
            if found is None:
                raise ValueError(text)
            period, letter, count = found.groups()
            yield (kind.decode(), int(period), _COHORTS[letter]), int(count)
