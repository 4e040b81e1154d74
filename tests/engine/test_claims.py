"""What a process remembers of claims: a machine against a plain model, and its bounds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from threading import Barrier, Thread

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE
from canary_middleware.core.claims import Ask, Claim, claim_key, contend
from canary_middleware.core.model import Cohort
from canary_middleware.engine.claims import MAX_SUBJECT, REMEMBERED, SHARE, WAITING, Claims

LIFE = 90.0
ROLLOUTS = ("checkout", "search")
EPOCHS = st.integers(1, 3)
NAMES = st.integers(0, 5)


def ask(number: int, rollout: str = "checkout", epoch: int = 1, life: float = LIFE) -> Ask:
    key = f"{rollout}-{number}"
    limit = SPACE // 2
    return Ask(rollout, key, None, "ab", epoch, epoch, limit, number, False, int(1000 * life))


def memory(now: list[float], events: list[str] | None = None) -> Claims:
    return Claims(lambda: now[0], (events if events is not None else []).append)


class Memory(RuleBasedStateMachine):
    """Few subjects, so that everything happens to each of them."""

    @initialize()
    def begin(self) -> None:
        self.now = [1_000.0]
        self.events: list[str] = []
        self.claims = memory(self.now, self.events)
        self.held: dict[str, tuple[str, Claim]] = {}
        self.until: dict[str, float] = {}
        self.used: dict[str, float] = {}
        self.hot: set[str] = set()
        self.waiting: dict[str, Ask] = {}
        self.taken: list[Ask] = []

    def _put(self, asked: Ask, claim: Claim) -> None:
        self.held[asked.key] = asked.rollout, claim
        self.until[asked.key] = self.now[0] + LIFE / SHARE
        self.used[asked.key] = self.now[0]

    @rule(seconds=st.floats(0.1, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now[0] += seconds

    @rule(number=NAMES, rollout=st.sampled_from(ROLLOUTS), epoch=EPOCHS, bucket=NAMES)
    def the_store_answers(self, number: int, rollout: str, epoch: int, bucket: int) -> None:
        asked = ask(number, rollout)
        claim = Claim("ab", epoch, epoch, Cohort.CANARY, bucket)
        self.claims.learn([asked], [claim])
        self._put(asked, claim)

    @rule(number=NAMES, rollout=st.sampled_from(ROLLOUTS), epoch=EPOCHS)
    def a_request_comes(self, number: int, rollout: str, epoch: int) -> None:
        asked = ask(number, rollout, epoch)
        found = self.claims.known(asked)
        _, held = self.held.get(asked.key, ("", None))
        if held is None or self.now[0] >= self.until[asked.key] or held.epoch < epoch:
            assert found is None
            return
        assert found == held
        self.used[asked.key] = self.now[0]
        self.hot.add(asked.key)

    @rule(number=NAMES, rollout=st.sampled_from(ROLLOUTS))
    def the_store_is_away(self, number: int, rollout: str) -> None:
        key = ask(number, rollout).key
        _, held = self.held.get(key, ("", None))
        lives = held is not None and self.now[0] - self.used[key] < LIFE
        assert self.claims.remembered(key) == (held if lives else None)
        if lives:
            self.used[key] = self.now[0]

    @rule(number=NAMES, rollout=st.sampled_from(ROLLOUTS))
    def a_new_browser_comes(self, number: int, rollout: str) -> None:
        asked = ask(number, rollout)
        self.claims.later(asked)
        self._put(asked, contend(None, None, asked))
        self.waiting[asked.key] = asked

    @rule(number=NAMES, rollout=st.sampled_from(ROLLOUTS))
    def somebody_is_served_without_the_store(self, number: int, rollout: str) -> None:
        asked = ask(number, rollout)
        claim = Claim("ab", 1, 1, Cohort.STABLE, 77)
        self.claims.later(asked, claim)
        self._put(asked, claim)
        self.until[asked.key] = self.now[0]
        self.waiting[asked.key] = asked

    @rule(most=st.integers(0, 4))
    def the_agent_takes(self, most: int) -> None:
        expected = list(self.waiting.values())[:most]
        assert self.claims.take(most) == expected
        for asked in expected:
            del self.waiting[asked.key]
        self.taken = expected

    @rule()
    def and_gives_back(self) -> None:
        self.claims.give_back(self.taken)
        for asked in self.taken:
            self.waiting.setdefault(asked.key, asked)
        self.taken = []

    @rule(most=st.integers(1, 3))
    def the_agent_tells_what_was_seen(self, most: int) -> None:
        told = self.claims.sightings(most)
        assert all(0 < len(seen.keys) <= most for seen in told)
        assert all(key.startswith(seen.rollout) for seen in told for key in seen.keys)
        keys = [key for seen in told for key in seen.keys]
        assert sorted(keys) == sorted(self.hot)
        self.hot.clear()

    @rule(rollout=st.sampled_from(ROLLOUTS), numbers=st.none() | st.sets(NAMES, min_size=1))
    def somebody_revokes(self, rollout: str, numbers: set[int] | None) -> None:
        keys = [f"{rollout}-{number}" for number in numbers or ()]
        self.claims.forget(rollout, keys)
        for key in keys or [key for key, (name, _) in self.held.items() if name == rollout]:
            for place in (self.held, self.waiting):
                place.pop(key, None)
            self.hot.discard(key)

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        assert len(self.claims) == len(self.held)
        names = [name for name, _ in self.held.values()]
        assert self.claims.counts() == {name: names.count(name) for name in set(names)}
        assert self.events == []


Memory.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestMemory = Memory.TestCase


# --- bounds ---------------------------------------------------------------------------------------


def test_who_was_seen_least_lately_goes_first() -> None:
    now = [0.0]
    claims = memory(now)
    for number in range(REMEMBERED):
        claims.learn([ask(number)], [contend(None, None, ask(number))])
    assert claims.known(ask(0)) is not None
    claims.learn([ask(-1)], [contend(None, None, ask(-1))])
    assert len(claims) == REMEMBERED
    assert claims.known(ask(0)) is not None
    assert claims.known(ask(1)) is None
    assert claims.known(ask(2)) is not None


def test_a_crowd_of_strangers_fills_nothing() -> None:
    now = [0.0]
    claims = memory(now)
    for number in range(3 * REMEMBERED):
        asked = ask(number)
        claims.learn([asked], [contend(None, None, asked)])
        claims.known(asked)
        claims.key(b"key", IDENTIFIED, f"user {number}")
    assert len(claims) == REMEMBERED
    assert sum(len(seen.keys) for seen in claims.sightings(200)) == WAITING
    assert claims.sightings(200) == []


def test_what_is_given_back_has_its_bound() -> None:
    now = [0.0]
    claims = memory(now)
    claims.give_back(ask(number) for number in range(2 * WAITING))
    assert len(claims.take(2 * WAITING)) == WAITING


def test_what_is_given_back_does_not_take_the_place_of_what_came_since() -> None:
    claims = memory([0.0])
    claims.later(ask(1))
    old = claims.take(10)
    newer = replace(ask(1), epoch=2)
    claims.later(newer)
    claims.give_back(old)
    assert claims.take(10) == [newer]


def test_a_remembered_key_is_the_key() -> None:
    claims = memory([0.0])
    for _ in range(2):
        for subject in ("alice", "a" * (MAX_SUBJECT + 1), "\ud800"):
            for kind in (ANONYMOUS, IDENTIFIED):
                for secret in (bytes(32), bytes(range(32))):
                    found = claims.key(secret, kind, subject)
                    assert found == claim_key(secret, kind, subject)


# --- threads --------------------------------------------------------------------------------------


@contextmanager
def busy_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def test_threads_share_it() -> None:
    now, events = [0.0], list[str]()
    claims = memory(now, events)
    wrong: list[BaseException] = []
    line = Barrier(6)

    def work(seed: int) -> None:
        chance = Random(seed)
        try:
            line.wait()
            for _ in range(1_500):
                one_of(chance, claims)
        except BaseException as error:
            wrong.append(error)
            raise

    with busy_switching():
        threads = [Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert len(claims) == sum(claims.counts().values()) <= 100
    assert events == []
    left = claims.take(1_000)
    assert len({asked.key for asked in left}) == len(left)


def one_of(chance: Random, claims: Claims) -> None:
    """Any operation on any of fifty subjects."""
    asked = ask(chance.randrange(50), chance.choice(ROLLOUTS))
    kind = chance.randrange(8)
    if kind == 0:
        claims.learn([asked], [contend(None, None, asked)])
    elif kind == 1:
        claims.later(asked)
    elif kind == 2:
        claims.give_back(claims.take(5))
    elif kind == 3:
        for seen in claims.sightings(10):
            assert len(set(seen.keys)) == len(seen.keys)
    elif kind == 4:
        claims.forget(asked.rollout, [asked.key] if chance.randrange(20) else [])
    elif kind == 5:
        claims.counts()
        claims.remembered(asked.key)
    else:
        found = claims.known(asked)
        assert found is None or found == contend(None, None, asked)
