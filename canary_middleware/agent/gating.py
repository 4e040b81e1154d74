"""Asks webhook gates, each question in a thread of its own: whoever leads never waits for one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any, Final

from canary_middleware.agent.posting import Post, Poster, PostError
from canary_middleware.core.gate import (
    GOOD_FOR,
    LARGEST,
    Answer,
    Question,
    body,
    pause,
    question,
    read,
    same,
)
from canary_middleware.core.state import Entry
from canary_middleware.core.webhook import signed

FORGET: Final = 3_600.0
"""Seconds after which a question that nobody puts any more is forgotten."""
CHANGES: Final = 5
"""How often what keeps a release may change at once."""
STEADY: Final = 600.0
"""Seconds that it is told for after that. Each change is a line of history, which has room for a
thousand: a gate that never gives the same reason twice must not push out all others."""
UNSIGNED: Final = "the process that leads has no webhook_secret to sign the question with"


@dataclass(slots=True)
class _Asked:
    """What is known of one question; the thread that asks writes ``said`` last, as a whole.

    ``told`` is what was handed on of it, and since when.
    """

    times: int = 0
    next_at: float = -math.inf
    wanted_at: float = -math.inf
    asking: bool = False
    said: tuple[Answer, float] | None = None
    told: tuple[Answer, float] | None = None
    changes: int = 0


def in_thread(run: Callable[[], None]) -> None:
    """Run it beside this thread; it ends with the process, or before."""
    Thread(target=run, name="canary-gate", daemon=True).start()


class Gating:
    """What gates say of the steps that this process would take.

    Args:
        namespace: of the rollouts.
        key: signs the questions; without one none is asked.
        post: asks.
        clock: monotonic seconds.
        wall: wall-clock seconds.
        begin: runs something beside this thread.
    """

    def __init__(
        self,
        namespace: str,
        key: bytes | None,
        post: Post | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        begin: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self._namespace = namespace
        self._key = key
        self._post = post or Poster()
        self._clock = clock
        self._wall = wall
        self._begin = begin
        self._asked: dict[str, _Asked] = {}

    def answer(
        self, rollout: str, entry: Entry, why: str, evidence: Callable[[], Mapping[str, Any]]
    ) -> Answer | None:
        """What the gate says of the next step by now; asks it where that is due.

        Args:
            rollout: its name.
            entry: the release, which has a gate.
            why: for which it would go on.
            evidence: what is known of it, as history has it.

        Returns:
            ``None`` until there is a first answer, or a reason why there is none.
        """
        if self._key is None:
            return Answer(None, UNSIGNED)
        now, put = self._clock(), question(rollout, entry)
        self._forget(now)
        one = self._asked.setdefault(put.id, _Asked())
        one.wanted_at = now
        answer, at = one.said or (None, -math.inf)
        agreed = answer is not None and answer.allowed is True
        if agreed and now - at < GOOD_FOR:
            return answer
        if not one.asking and now >= one.next_at:
            sent = body(put, self._namespace, entry.stable, why, evidence())
            self._ask(one, put, self._key, sent)
        return None if agreed or answer is None else _steady(one, answer, now)

    def _ask(self, one: _Asked, put: Question, key: bytes, sent: bytes) -> None:
        one.asking, one.times = True, one.times + 1
        at = int(self._wall())
        # Each asking is a message of its own: a receiver that drops what it has seen must not.
        head = signed(key, f"{put.id}_{at}_{one.times}", at, sent)
        try:
            self._begin(lambda: self._hear(one, put.url, sent, head))
        except RuntimeError:  # the system's limit of threads
            self._note(one, Answer(None, "there is no thread to ask it with"))

    def _hear(self, one: _Asked, url: str, sent: bytes, head: Mapping[str, str]) -> None:
        answer = Answer(None, "it could not be asked")
        try:
            reply = self._post(url, sent, head, LARGEST + 1)
            answer = read(reply.status, reply.body)
        except PostError as error:
            answer = Answer(None, str(error))
        finally:
            self._note(one, answer)

    def _note(self, one: _Asked, answer: Answer) -> None:
        now = self._clock()
        if answer.allowed:
            one.times = 0
        one.next_at = now + (0.0 if answer.allowed else pause(one.times))
        one.said = answer, now
        one.asking = False

    def _forget(self, now: float) -> None:
        old = [name for name, one in self._asked.items() if now - one.wanted_at > FORGET]
        for name in old:
            del self._asked[name]


def _steady(one: _Asked, answer: Answer, now: float) -> Answer:
    """What is told of an answer that is no yes."""
    last, since = one.told or (None, now)
    if last is not None:
        alike = last.allowed is answer.allowed and same(last.reason, answer.reason)
        if alike or (one.changes >= CHANGES and now - since < STEADY):
            return last
        one.changes += 1
    one.told = answer, now
    return answer
