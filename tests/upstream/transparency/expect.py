"""What must come of a case: the same as directly, or what the case itself says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from tests.upstream.transparency.client import Got
from tests.upstream.transparency.compare import Difference, Rules, Side, compare
from tests.upstream.transparency.wire import Message

GATEWAY: Final = frozenset({502, 503, 504})
REFUSALS: Final = frozenset({400, 405, 411, 413, 414, 431, 501, 505})
POISON: Final = b"POISON"
FRESH: Final = b"fresh\n"
SECRETS: Final = (b"127.0.0.1", b"localhost", b"Traceback", b"Error:", b"errno", b"refused by")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case: at the client, at the origin, and for those who came after.

    Attributes:
        again: what later clients got.
        troubles: of the origin with its script.
        missed_after: seconds until the origin noticed that the client had gone.
    """

    got: Got
    requests: tuple[Message, ...]
    again: tuple[Got, ...] = ()
    troubles: tuple[str, ...] = ()
    missed_after: float = math.inf
    origin_port: int = 0


@dataclass(slots=True)
class Verdict:
    """What is wrong with a case, in words, and what differs but may."""

    wrong: list[str] = field(default_factory=list)
    allowed: list[Difference] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.wrong


@dataclass(frozen=True, slots=True)
class Same:
    """The origin saw and the client got what they would have without a proxy.

    Args:
        whole: whether the origin reads the request to its end; if not, what it saw of the body
            depends on the moment it stopped.
    """

    whole: bool = True

    def compare(self, direct: Outcome, seen: Outcome, rules: Rules) -> Verdict:
        verdict = Verdict([*seen.got.troubles, *seen.troubles])
        asked = [self._judged(one.requests) for one in (direct, seen)]
        differences = [
            *compare(Side.REQUEST, asked[0], asked[1], rules),
            *compare(Side.ANSWER, direct.got.interims, seen.got.interims, rules),
            *compare(Side.ANSWER, direct.got.finals, seen.got.finals, rules),
        ]
        verdict.wrong += [str(one) for one in differences if one.why is None]
        verdict.allowed += [one for one in differences if one.why is not None]
        if direct.got.surplus != seen.got.surplus:
            verdict.wrong.append(f"after the answer: {seen.got.surplus[:60]!r}")
        if "late" in {direct.got.ended, seen.got.ended}:
            verdict.wrong.append(f"client: direct {direct.got.ended}, here {seen.got.ended}")
        return verdict

    def _judged(self, messages: Sequence[Message]) -> list[Message]:
        if self.whole:
            return list(messages)
        return [replace(one, body=b"", trailers=(), complete=True) for one in messages]


class Own(Protocol):
    """An expectation of its own, where nothing direct compares."""

    def judge(self, seen: Outcome) -> Verdict: ...


Expectation = Same | Own


@dataclass(frozen=True, slots=True)
class Refused:
    """The client's own mistake: one of these statuses, and nothing of it reaches the origin."""

    statuses: frozenset[int] = REFUSALS

    def judge(self, seen: Outcome) -> Verdict:
        wrong = [f"the origin saw {one.line!r}" for one in seen.requests]
        return Verdict([*wrong, *_answered(seen.got, self.statuses)])


@dataclass(frozen=True, slots=True)
class Clean:
    """Refused, or passed on in a form that nobody can read in two ways.

    A body that turns out to be broken when its beginning has been passed on may end there, visibly
    for the origin; and a server may wait for the end of what it does not understand.

    Args:
        bodies: of the requests that the origin may see, if it sees any.
        without: what nothing at the origin may contain.
    """

    bodies: tuple[bytes, ...] = (b"",)
    without: tuple[bytes, ...] = ()
    statuses: frozenset[int] = REFUSALS

    def judge(self, seen: Outcome) -> Verdict:
        whole = [one for one in seen.requests if one.complete]
        silent = not whole and not seen.got.raw
        expected = frozenset({200}) if whole else self.statuses
        verdict = Verdict([] if silent else _answered(seen.got, expected))
        bodies = tuple(one.body for one in whole)
        if whole and bodies != self.bodies:
            verdict.wrong.append(f"the origin saw the bodies {bodies!r}")
        for one in seen.requests:
            verdict.wrong += [f"the origin saw: {flaw}" for flaw in one.flaws]
            text = b"\n".join([one.line, *(b": ".join(pair) for pair in one.headers)])
            verdict.wrong += [f"the origin saw {part!r}" for part in self.without if part in text]
        return verdict


@dataclass(frozen=True, slots=True)
class Fails:
    """A broken upstream before the start of its answer: the proxy says so, in few words.

    Args:
        tries: how often the origin may see the request.
        between: seconds in which the client must have its answer.
    """

    statuses: frozenset[int] = GATEWAY
    tries: tuple[int, int] = (1, 1)
    between: tuple[float, float] = (0.0, 2.0)

    def judge(self, seen: Outcome) -> Verdict:
        verdict = Verdict(_answered(seen.got, self.statuses))
        methods = [one.method for one in seen.requests if b"/again" not in one.target]
        least, most = self.tries
        most += 8 * (b"POST" not in methods)  # what is safe, nginx tries on every connection
        if not least <= len(methods) <= most:
            verdict.wrong.append(f"the origin saw {len(methods)} requests, not {least} to {most}")
        if not self.between[0] <= seen.got.seconds <= self.between[1]:
            verdict.wrong.append(f"answered after {seen.got.seconds:.2f} s, not {self.between}")
        told = [one for one in (*SECRETS, b"%d" % seen.origin_port) if one in seen.got.raw]
        verdict.wrong += [f"the answer tells {one!r}" for one in told]
        verdict.wrong += _unharmed(seen)
        return verdict


@dataclass(frozen=True, slots=True)
class Cut:
    """An upstream that breaks after its start: the client gets what came, and sees a cut."""

    begins: bytes = b""
    status: int = 200

    def judge(self, seen: Outcome) -> Verdict:
        finals = seen.got.finals
        if not finals and seen.got.ended in {"closed", "reset"}:
            return Verdict([*_unharmed(seen)])  # also visible: nothing at all
        wrong = [] if len(finals) == 1 else [f"{len(finals)} answers"]
        if finals and finals[0].status in GATEWAY | {500}:
            return Verdict(_unharmed(seen))  # it broke before the server began to answer
        for one in finals[:1]:
            wrong += [] if one.status == self.status else [f"status {one.status}"]
            wrong += ["it looks complete"] if one.complete and one.framing != "close" else []
            if one.framing == "close" and seen.got.ended != "reset":
                wrong.append("it looks complete: the end is the end of the connection")
            wrong += [] if self.begins.startswith(one.body) else [f"body {one.body[:60]!r}"]
        wrong += [] if seen.got.ended in {"closed", "reset"} else [f"client: {seen.got.ended}"]
        return Verdict([*wrong, *_unharmed(seen)])


@dataclass(frozen=True, slots=True)
class Unharmed:
    """The answer is the right one, or a gateway's; what else the upstream sent reaches nobody."""

    statuses: frozenset[int]

    def judge(self, seen: Outcome) -> Verdict:
        return Verdict([*_answered(seen.got, self.statuses), *_unharmed(seen)])


@dataclass(frozen=True, slots=True)
class Row:
    """Several requests on one connection get answers of these statuses, each complete.

    Args:
        tries: how many requests the origin may see in all.
    """

    statuses: tuple[int, ...]
    tries: tuple[int, int]

    def judge(self, seen: Outcome) -> Verdict:
        verdict = Verdict(list(seen.got.troubles))
        found = tuple(one.status for one in seen.got.finals)
        if found != self.statuses or not seen.got.complete:
            verdict.wrong.append(f"the client got {found} and {seen.got.ended}")
        if not self.tries[0] <= len(seen.requests) <= self.tries[1]:
            verdict.wrong.append(f"the origin saw {len(seen.requests)} requests")
        posts = [one.target for one in seen.requests if one.method == b"POST"]
        if len(posts) > len(set(posts)):
            verdict.wrong.append("a POST was sent twice")
        return verdict


@dataclass(frozen=True, slots=True)
class Torn:
    """The client breaks off its body: whatever the origin sees must not look complete.

    Nor is the origin to blame, unless the request met a connection that had just been closed.
    """

    def judge(self, seen: Outcome) -> Verdict:
        wrong = [f"a whole body: {one.body[:60]!r}" for one in seen.requests if one.complete]
        blamed = [one for one in seen.got.finals if one.status in GATEWAY]
        wrong += [f"status {one.status}" for one in blamed if seen.requests]
        return Verdict(wrong)


@dataclass(frozen=True, slots=True)
class Leaves:
    """The client goes: the origin notices within a second, or never hears of it (row U7)."""

    def judge(self, seen: Outcome) -> Verdict:
        if not seen.requests or seen.missed_after < 1:
            return Verdict()
        return Verdict([f"the origin noticed after {seen.missed_after:.1f} s"])


def _answered(got: Got, statuses: frozenset[int]) -> list[str]:
    wrong = list(got.troubles)
    found = [one.status for one in got.finals]
    if len(found) != 1 or found[0] not in statuses:
        wrong.append(f"the client got {found} and {got.ended}, not one of {sorted(statuses)}")
    wrong += ["its answer is not complete"] if got.finals and not got.complete else []
    wrong += [f"after the answer: {got.surplus[:60]!r}"] if got.surplus else []
    wrong += ["poison in the answer"] if POISON in got.raw else []
    return wrong


def _unharmed(seen: Outcome) -> list[str]:
    """Those who come after get their own answer, every one of them."""
    wrong = ["poison in the answer"] if POISON in seen.got.raw else []
    for place, got in enumerate(seen.again, 1):
        bodies = [(one.status, one.body) for one in got.finals]
        if bodies != [(200, FRESH)] or got.surplus:
            wrong.append(f"follower {place} got {got.raw[:80]!r}, {got.ended}")
    return wrong
