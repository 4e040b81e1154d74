"""Claims in Redis: which script is run with what, and what its answer means.

Does not import redis-py: :class:`ClaimScript` is pure, so that a blocking and an asyncio client
say the same, and :class:`RedisAffinity` asks whoever runs its scripts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, NamedTuple

from canary_middleware.core.claims import Ask, Claim, contend, decode_claim, encode_claim
from canary_middleware.errors import StoreUnavailableError
from canary_middleware.stores.forgotten import batches, encode_forgotten
from canary_middleware.stores.protocol import Forgotten, Listed

FORGET: Final = "forget"
"""Last part of the name of the channel on which revoked claims are pushed."""
_SCRIPTS: Final = (
    "touch", "listed", "forget", "lease", "totals", "firsts", "entered", "series", "outbox",
)  # fmt: skip


class Call(NamedTuple):
    """One ``EVAL``.

    Attributes:
        script: its text, not its hash: no call depends on a script cache.
        keys: all of one hash tag.
        arguments: numbers and texts.
    """

    script: str
    keys: Sequence[str]
    arguments: Sequence[str | int | bytes]

    @property
    def words(self) -> list[Any]:
        """What ``execute_command`` of a client takes, blocking or not."""
        return ["EVAL", self.script, len(self.keys), *self.keys, *self.arguments]

    @property
    def by_digest(self) -> list[Any]:
        """The same for a server that has seen the script; else it answers ``NOSCRIPT``."""
        return ["EVALSHA", digest_of(self.script), len(self.keys), *self.keys, *self.arguments]


class ClaimScript:
    """All questions of one request as one call."""

    def __init__(self, namespace: str) -> None:
        self._tag = tag_of(namespace)
        self._script = read_script("claim")

    def call(self, asks: Sequence[Ask]) -> Call:
        """What to run; at least one question."""
        keys: list[str] = []
        arguments: list[str | int | bytes] = []
        for ask in asks:
            keys.append(pin_key(self._tag, ask.rollout, ask.key))
            if ask.origin is not None:
                keys.append(pin_key(self._tag, ask.rollout, ask.origin))
            alone = ask.origin is None and ask.remembered is None
            fresh = encode_claim(contend(None, None, ask)) if alone else b""
            # One text for the rest: a client packs each argument at the cost of a line of ours.
            rest = (
                f"{ask.lineage} {ask.epoch} {ask.period} {ask.limit} {ask.bucket} {ask.raises:d}"
                f" {ask.origin is not None:d} {_remembered(ask)}"
            )
            arguments += (fresh, ask.life, rest)
        return Call(self._script, keys, arguments)

    @staticmethod
    def winners(answer: object, asked: int) -> list[Claim]:
        """What the answer says, which was never decoded (``NEVER_DECODE``).

        Raises:
            StoreUnavailableError: it is not what our script answers to so many questions.
        """
        texts = answer.split(b" ") if isinstance(answer, bytes) else []
        found = [decode_claim(text) for text in texts]
        claims = [claim for claim in found if claim is not None]
        if not asked == len(claims) == len(texts):
            raise StoreUnavailableError("the server does not answer as our claim script does")
        return claims


@lru_cache(maxsize=32)
def digest_of(script: str) -> str:
    """By which a server knows a script: its SHA-1 (Redis, ``EVALSHA``), no matter of security."""
    return sha1(script.encode(), usedforsecurity=False).hexdigest()


def _remembered(ask: Ask) -> str:
    return "" if ask.remembered is None else encode_claim(ask.remembered).decode("ascii")


def tag_of(namespace: str) -> str:
    """Beginning of all keys of a namespace, which a cluster keeps in one slot."""
    return f"canary:{{{namespace}}}"


def pin_key(tag: str, rollout: str, key: str) -> str:
    """Where a claim stands."""
    return f"{tag}:pin:{rollout}:{key}"


def read_script(name: str) -> str:
    """The text of a script that needs nothing of ``common.lua``."""
    return (files("canary_middleware.stores") / "lua" / f"{name}.lua").read_text()


class Scripted(ABC):
    """Runs scripts in one namespace; the parts of a store ask it."""

    def __init__(self, namespace: str) -> None:
        self._tag = tag_of(namespace)
        self._claiming = ClaimScript(namespace)
        self._texts = {name: read_script(name) for name in _SCRIPTS}

    @abstractmethod
    def _evaluate(self, call: Call) -> object:
        """The answer, not decoded."""

    @abstractmethod
    def _scan(self, pattern: str) -> Iterator[str]:
        """Keys of the namespace that match, in steps, some perhaps twice."""


class RedisAffinity(Scripted):
    """See :class:`~canary_middleware.stores.protocol.Affinity`."""

    def claim(self, asks: Sequence[Ask]) -> list[Claim]:
        """One script."""
        if not asks:
            return []
        answer = self._evaluate(self._claiming.call(asks))
        return self._claiming.winners(answer, len(asks))

    def touch(self, rollout: str, keys: Sequence[str], life: int) -> list[str]:
        """One script per 500 claims."""
        gone: list[str] = []
        for batch in batches(keys):
            call = Call(self._texts["touch"], self._pins(rollout, batch), [life])
            gone += (batch[_whole(place) - 1] for place in _list(self._evaluate(call)))
        return gone

    def claims(self, rollout: str) -> Iterator[Listed]:
        """By ``SCAN``, for operators only; other people's values are left out."""
        prefix, seen = len(self._pin(rollout, "")), set[str]()
        for batch in batches(self._scan(self._pin(rollout, "*"))):
            fresh = {place[prefix:] for place in batch} - seen
            seen |= fresh
            yield from self._listed(rollout, list(fresh))

    def look(self, rollout: str, keys: Iterable[str]) -> list[Listed]:
        """One script per 500 claims."""
        return [found for batch in batches(set(keys)) for found in self._listed(rollout, batch)]

    def forget(self, rollout: str, keys: Iterable[str] | None) -> int:
        """In steps, each with its push; all claims of a rollout are found by ``SCAN``."""
        if keys is not None:
            return sum(
                self._forget(self._pins(rollout, batch), Forgotten(rollout, batch))
                for batch in batches(keys)
            )
        everything = Forgotten(rollout)
        found = batches(self._scan(self._pin(rollout, "*")))
        count = sum(self._forget(batch, everything) for batch in found)
        # Who has one in memory still holds it when none is left here.
        return count + self._forget([self._pin(rollout, "")], everything)

    def _listed(self, rollout: str, keys: Sequence[str]) -> list[Listed]:
        call = Call(self._texts["listed"], self._pins(rollout, keys), [])
        answer = _list(self._evaluate(call))
        found = []
        for key, text, left in zip(keys, answer[::2], answer[1::2], strict=False):
            claim = decode_claim(text) if isinstance(text, bytes) else None
            if claim is not None:
                found.append(Listed(key, claim, _whole(left) / 1000))
        return found

    def _forget(self, places: Sequence[str], forgotten: Forgotten) -> int:
        call = Call(
            self._texts["forget"], places, [f"{self._tag}:{FORGET}", encode_forgotten(forgotten)]
        )
        return _whole(self._evaluate(call))

    def _pin(self, rollout: str, key: str) -> str:
        return pin_key(self._tag, rollout, key)

    def _pins(self, rollout: str, keys: Iterable[str]) -> list[str]:
        return [self._pin(rollout, key) for key in keys]


def _list(answer: object) -> list[object]:
    if not isinstance(answer, list):
        raise StoreUnavailableError("the server does not answer as our scripts do")
    return answer


def _whole(answer: object) -> int:
    if not isinstance(answer, int):
        raise StoreUnavailableError("the server does not answer as our scripts do")
    return answer
