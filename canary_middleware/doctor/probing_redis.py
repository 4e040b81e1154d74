"""Asks a Redis what it is, and tries on scratch keys what it lets us do."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from canary_middleware.doctor.permitted import SCRIPT, TRIALS, is_refusal
from canary_middleware.errors import MissingExtraError, StoreError
from canary_middleware.stores.redis import RedisStore

try:
    import redis
    from redis.client import NEVER_DECODE
    from redis.exceptions import RedisClusterException
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

_SECTIONS: Final = ("server", "memory", "persistence", "replication")
_INFO: Final = """
local told = ''
for _, section in ipairs(ARGV) do
  local said = redis.pcall('INFO', section)
  if type(said) == 'string' then told = told .. said end
end
return told
"""
_LISTENING: Final = 0.05
"""Seconds that a subscription is listened to: a refusal comes with the first answer."""


@dataclass(slots=True)
class Told:
    """What was learned so far.

    Attributes:
        refused: commands that it does not let us run.
        facts: lines of ``INFO``.
        saves: its setting ``save``, if that may be asked.
        ahead: seconds by which its clock is ahead of ours.
        unseen: questions that it does not answer.
    """

    refused: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    saves: str | None = None
    ahead: float | None = None
    unseen: list[str] = field(default_factory=list)


def ask(store: RedisStore, namespace: str, patience: float, in_time: Callable[[], bool]) -> Told:
    """All questions, as long as there is time for one more.

    Raises:
        StoreError: it cannot be reached any more.
    """
    told = Told()
    with _connected(store, patience) as client:
        server = _Server(client, f"canary:{{{namespace}}}:doctor:{secrets.token_hex(4)}")
        for question in (server.try_all, server.listen, server.info, server.saves, server.clock):
            if not in_time():
                told.unseen.append("everything, for want of time")
                break
            question(told)
    if in_time():
        _subscribe(store, told)
    return told


@contextmanager
def _connected(store: RedisStore, patience: float) -> Iterator[Any]:
    try:
        client = store.address.connect(connect_timeout=patience, timeout=patience)
        try:
            yield client
        finally:
            client.close()
    except (redis.RedisError, RedisClusterException) as error:
        raise StoreError(f"it went away while it was asked: {type(error).__name__}") from error


class _Server:
    def __init__(self, client: Any, scratch: str) -> None:
        self._client = client
        self._keys = [f"{scratch}:{name}" for name in "shlz"]

    def _ask(self, *words: Any) -> Any:
        return self._client.execute_command(*words, **{NEVER_DECODE: True})

    def _run(self, script: str, *arguments: str) -> Any:
        return self._ask("EVAL", script, len(self._keys), *self._keys, *arguments)

    def try_all(self, told: Told) -> None:
        """Run what agents and verbs run, on keys that nobody else has and that do not stay."""
        try:
            answers: Sequence[bytes] = self._run(SCRIPT, json.dumps(TRIALS))
        except redis.ResponseError as error:
            if is_refusal(str(error)):
                told.refused.append("eval")
            return
        for one, said in zip(answers[::2], answers[1::2], strict=True):
            name = one.decode(errors="replace")
            if is_refusal(said.decode(errors="replace")) and name not in told.refused:
                told.refused.append(name)

    def listen(self, told: Told) -> None:
        """The commands that run outside of scripts."""
        unknown = partial(self._ask, "EVALSHA", "0" * 40, 1, self._keys[0])
        for name, run in (("ping", self._client.ping), ("evalsha", unknown)):
            try:
                run()
            except redis.ResponseError as error:  # that there is no such script is none
                if is_refusal(str(error)):
                    told.refused.append(name)

    def info(self, told: Told) -> None:
        """The lines of INFO that some check reads, and all others."""
        try:
            text = self._run(_INFO, *_SECTIONS).decode(errors="replace")
        except redis.ResponseError:
            text = ""
        lines = (line.partition(":") for line in text.splitlines())
        told.facts.update((name, value.strip()) for name, _, value in lines if value)
        if not told.facts:
            told.unseen.append("INFO")

    def saves(self, told: Told) -> None:
        """When it saves itself; managed services and most users may not ask."""
        if isinstance(self._client, redis.Redis):
            try:
                answer = self._ask("CONFIG", "GET", "save")
            except redis.ResponseError:
                return
            if isinstance(answer, list) and len(answer) == 2:
                told.saves = answer[1].decode(errors="replace")

    def clock(self, told: Told) -> None:
        """By one question, in whose middle it is taken to have looked at its clock."""
        asked = time.time()
        try:
            seconds, micros = self._run("return redis.call('TIME')")
        except redis.ResponseError:
            return
        told.ahead = int(seconds) + int(micros) / 1e6 - (asked + time.time()) / 2


def _subscribe(store: RedisStore, told: Told) -> None:
    try:
        with store.listen() as subscription:
            subscription.receive(_LISTENING)
    except StoreError as error:
        told.refused.append(f"subscribe ({error})" if "channel" in str(error) else "subscribe")
