"""What every store of claims promises; the rule itself is ``core.claims.contend``."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from typing import Any, Final

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Ask, Claim, contend
from canary_middleware.core.model import Cohort
from canary_middleware.stores.protocol import Affinity, Forgotten, Listed
from canary_middleware.testing.contract import Contract, Opener, receive

HALF: Final = SPACE // 2
LIFE: Final = 60_000
SHORT: Final = 150
"""Milliseconds; real time, as a store's clock may be its own."""

FIRST: Final = Ask("checkout", "alice", None, "ab12", 1, 1, HALF, HALF - 1, raises=False, life=LIFE)


class AffinityContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.Affinity`."""

    def test_the_first_claim_stands(self, view: Opener) -> None:
        drawn = Claim("ab12", 1, 1, Cohort.CANARY, HALF - 1)
        assert view().claim([FIRST]) == [drawn]
        late = replace(FIRST, bucket=HALF + 1, limit=0, period=2)
        assert view().claim([late]) == [drawn]
        assert view().claim([replace(late, key="bob")]) == [
            Claim("ab12", 1, 2, Cohort.STABLE, HALF + 1)
        ]
        assert view().claim([replace(late, rollout="search")])[0].cohort is Cohort.STABLE

    def test_many_questions_are_answered_in_their_order(self, store: Affinity) -> None:
        assert store.claim([]) == []
        asks = [replace(FIRST, key=str(bucket), bucket=bucket) for bucket in range(20)]
        assert [claim.bucket for claim in store.claim(asks)] == list(range(20))
        assert [claim.bucket for claim in store.claim(asks[::-1])] == list(range(20))[::-1]

    def test_a_later_question_sees_what_an_earlier_one_claimed(self, store: Affinity) -> None:
        other = replace(FIRST, bucket=HALF + 7)
        assert store.claim([FIRST, other]) == store.claim([FIRST]) * 2

    def test_an_epoch_voids_the_cohort_and_keeps_the_bucket(self, store: Affinity) -> None:
        store.claim([FIRST])
        (anew,) = store.claim([replace(FIRST, epoch=2, period=3, limit=1, bucket=5)])
        assert anew == Claim("ab12", 2, 3, Cohort.STABLE, HALF - 1)
        (behind,) = store.claim([FIRST])
        assert behind == anew, "who is behind does not turn the clock back"
        (foreign,) = store.claim([replace(FIRST, lineage="cd34", limit=SPACE)])
        assert foreign == Claim("cd34", 1, 1, Cohort.CANARY, HALF - 1)

    def test_a_claim_of_stable_rises_where_it_may(self, store: Affinity) -> None:
        (low,) = store.claim([replace(FIRST, limit=0)])
        assert low.cohort is Cohort.STABLE
        assert store.claim([replace(FIRST, period=2)]) == [low]
        assert store.claim([replace(FIRST, period=2, limit=HALF - 1, raises=True)]) == [low]
        (risen,) = store.claim([replace(FIRST, period=2, raises=True)])
        assert risen == low._replace(cohort=Cohort.CANARY, period=2)
        assert store.claim([replace(FIRST, period=3, limit=0, raises=True)]) == [risen]

    def test_who_signs_in_takes_the_place_of_before(self, store: Affinity) -> None:
        (anonymous,) = store.claim([replace(FIRST, key="visitor")])
        user = replace(FIRST, key="user", origin="visitor", bucket=HALF + 3, limit=0, period=2)
        assert store.claim([user]) == [anonymous]
        assert store.claim([replace(user, origin=None)]) == [anonymous]
        older = replace(FIRST, key="other", bucket=HALF + 9)
        (own,) = store.claim([older])
        assert store.claim([replace(older, origin="visitor")]) == [own], "an older claim wins"
        (fresh,) = store.claim([replace(user, key="third", origin="nobody")])
        assert fresh.bucket == HALF + 3

    def test_what_a_process_remembers_comes_back_to_a_store_that_lost_it(
        self, store: Affinity
    ) -> None:
        kept = Claim("ab12", 1, 1, Cohort.STABLE, 3)
        assert store.claim([replace(FIRST, remembered=kept)]) == [kept]
        assert store.claim([FIRST]) == [kept]
        assert store.claim([replace(FIRST, remembered=kept._replace(bucket=4))]) == [kept]

    def test_numbers_stay_exact(self, store: Affinity) -> None:
        for bucket in (SPACE - 1, SPACE - 2, SPACE // 3):
            ask = replace(
                FIRST, key=str(bucket), bucket=bucket, limit=bucket, epoch=SPACE - 1,
                period=SPACE - 2,
            )  # fmt: skip
            (claim,) = store.claim([ask])
            assert claim == Claim("ab12", SPACE - 1, SPACE - 2, Cohort.STABLE, bucket)
            (risen,) = store.claim([replace(ask, limit=bucket + 1, raises=True)])
            assert risen.cohort is Cohort.CANARY

    def test_answers_are_those_of_the_rule(self, store: Affinity) -> None:
        dice = random.Random(3)
        model: dict[Any, Claim] = {}
        for _ in range(150):
            asks = [any_ask(dice) for _ in range(dice.randrange(1, 4))]
            assert store.claim(asks) == [settle(model, ask) for ask in asks], asks

    def test_claims_expire_when_they_are_not_seen(self, store: Affinity) -> None:
        short = replace(FIRST, life=SHORT)
        store.claim([short, replace(short, key="bob"), replace(short, key="carol")])
        gone = store.touch("checkout", ["bob", "nobody"], LIFE)
        assert list(gone) == ["nobody"], "who remembers it may bring it back"
        store.claim([replace(FIRST, key="carol")])
        left = {listed.key: listed.left for listed in store.claims("checkout")}
        assert left["alice"] <= SHORT / 1000 < left["bob"] <= LIFE / 1000
        assert left["carol"] > SHORT / 1000
        until = time.monotonic() + 5
        while "alice" in keys(store) and time.monotonic() < until:
            time.sleep(SHORT / 2000)
        assert keys(store) == {"bob", "carol"}, "a touch makes no claim"
        anew = replace(FIRST, bucket=7)
        assert [claim.bucket for claim in store.claim([anew])] == [7]

    def test_what_was_found_lives_on(self, store: Affinity) -> None:
        store.claim([replace(FIRST, life=SHORT)])
        store.claim([FIRST])
        (listed,) = store.claims("checkout")
        assert SHORT / 1000 < listed.left <= LIFE / 1000

    def test_operators_see_the_claims_of_one_rollout(self, store: Affinity) -> None:
        asks = [replace(FIRST, key=f"{number:04}", bucket=number) for number in range(1_203)]
        for start in range(0, len(asks), 200):
            store.claim(asks[start : start + 200])
        store.claim([replace(FIRST, rollout="checkout-2"), replace(FIRST, rollout="check")])
        found = list(store.claims("checkout"))
        assert all(isinstance(listed, Listed) for listed in found)
        assert sorted((listed.key, listed.claim.bucket) for listed in found) == [
            (ask.key, ask.bucket) for ask in asks
        ]
        assert list(store.claims("nothing")) == []

    def test_operators_look_at_some_claims(self, store: Affinity) -> None:
        names = [f"{number:04}" for number in range(1_203)]
        for start in range(0, len(names), 200):
            store.claim([replace(FIRST, key=name) for name in names[start : start + 200]])
        store.claim([replace(FIRST, rollout="search", key="elsewhere", life=SHORT)])
        assert store.look("checkout", []) == []
        assert store.look("checkout", ["nobody", "elsewhere"]) == []
        (found,) = store.look("checkout", ["0007", "nobody", "0007"])
        assert found[:2] == ("0007", Claim("ab12", 1, 1, Cohort.CANARY, HALF - 1))
        assert 0 < found.left <= LIFE / 1000
        assert sorted(listed.key for listed in store.look("checkout", iter(names))) == names
        until = time.monotonic() + 5
        while store.look("search", ["elsewhere"]) and time.monotonic() < until:
            time.sleep(SHORT / 5000)
        assert store.look("search", ["elsewhere"]) == [], "a look prolongs no life"

    def test_what_is_forgotten_is_pushed(self, view: Opener) -> None:
        store = view()
        asks = [replace(FIRST, key=name) for name in ("alice", "bob", "carol")]
        store.claim([*asks, replace(FIRST, rollout="search")])
        with view().listen() as subscription:
            # A subscription may take a moment; what is pushed before it stands is not promised.
            assert subscription.receive(0.1) is None
            assert store.forget("checkout", []) == 0
            assert store.forget("checkout", ["alice", "nobody"]) == 1
            assert receive(subscription) == Forgotten("checkout", ("alice", "nobody"))
            assert keys(store) == {"bob", "carol"}
            assert store.forget("checkout", None) == 2
            assert receive(subscription) == Forgotten("checkout")
        assert keys(store) == set()
        assert keys(store, "search") == {"alice"}

    def test_many_are_forgotten_in_pushes_of_a_bounded_size(self, view: Opener) -> None:
        store, names = view(), [f"{number:04}" for number in range(1_203)]
        with view().listen() as subscription:
            assert subscription.receive(0.1) is None
            assert store.forget("checkout", iter(names)) == 0
            heard: list[str] = []
            while len(heard) < len(names):
                push = receive(subscription)
                assert isinstance(push, Forgotten)
                assert 0 < len(push.keys) <= 500
                heard += push.keys
        assert heard == names

    def test_one_of_many_threads_wins(self, view: Opener) -> None:
        stores = [view() for _ in range(4)]
        answers: list[list[Claim]] = []
        line = threading.Barrier(len(stores))

        def race(number: int) -> None:
            asks = [replace(FIRST, key=str(key), bucket=number) for key in range(20)]
            line.wait()
            answers.append([claim for ask in asks for claim in stores[number].claim([ask])])

        threads = [threading.Thread(target=race, args=(n,)) for n in range(len(stores))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == len(stores)
        assert all(answer == answers[0] for answer in answers)


def keys(store: Affinity, rollout: str = "checkout") -> set[str]:
    """Whose claims there are."""
    return {listed.key for listed in store.claims(rollout)}


def any_ask(dice: random.Random) -> Ask:
    """One of few subjects, with numbers from the edges."""

    def number() -> int:
        return dice.choice((0, 1, HALF, SPACE - 1, dice.randrange(SPACE)))

    return Ask(
        rollout=dice.choice("ab"),
        key=dice.choice("xyz"),
        origin=dice.choice((None, "x", "y")),
        lineage=dice.choice(("ab", "cd")),
        epoch=dice.randrange(4),
        period=dice.randrange(4),
        limit=dice.choice((0, SPACE, number())),
        bucket=number(),
        raises=dice.random() < 0.5,
        life=LIFE,
    )


def settle(model: dict[Any, Claim], ask: Ask) -> Claim:
    """The rule, on a plain mapping."""
    place = ask.rollout, ask.key
    model[place] = contend(model.get(place), model.get((ask.rollout, ask.origin)), ask)
    return model[place]
