"""A process that counts, ships, judges and moves a rollout, whole, with clocks to turn."""

from __future__ import annotations

from random import Random

from canary_middleware import verbs
from canary_middleware.agent.looping import Loops
from canary_middleware.agent.measuring import Measuring
from canary_middleware.core.guards import Guard
from canary_middleware.core.model import Cohort, Rollout
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.state import ACTIVE, Entry, Phase, Plan
from canary_middleware.stores import MemoryStore
from tests.agent.site import Time, start
from tests.engine.measured import Person
from tests.engine.world import world

ROLLOUT = Rollout(
    "checkout", stable="1", canary="2", owner="me", guards=[Guard.mean("revenue", margin="15%")],
    ramp=Ramp("50%", "100%", bake="40s", samples=5, max_age="1h"), precaution=None,
)  # fmt: skip


class Shop:
    """One process and those who buy there, 30 in a second; a version's values are of its own.

    Args:
        canary: mean of what one who buys on the canary pays; on stable it is 60.
    """

    def __init__(self, canary: float = 60.0) -> None:
        self.made = world(ROLLOUT)
        self.time, self.random = self.made.time, Random(5)
        self.means = {Cohort.STABLE: 60.0, Cohort.CANARY: canary}
        self.store = MemoryStore(lambda: self.time.wall)
        engine, loops = self.made.engine, Loops(lambda: self.time.monotonic)
        self.agent = Measuring(
            self.store, lambda: engine.measuring, followed=lambda: engine.document,
            adopt=engine.adopt, owner="a", name="a", loops=loops, count=engine.recorder.count,
            clock=lambda: self.time.monotonic, wall=lambda: self.time.wall,
        )  # fmt: skip
        plan = Plan.from_rollout(ROLLOUT)
        engine.adopt(start(self.store, Time(wall=self.time.wall), plan))

    @property
    def entry(self) -> Entry:
        document = self.made.engine.document
        found = document.entry("checkout", "2") if document is not None else None
        assert found is not None
        return found

    def run(self, seconds: int) -> None:
        """Until it is over, or for so long."""
        for _ in range(seconds):
            if self.entry.phase not in ACTIVE:
                return
            for _ in range(30):
                self._buy()
            self.time.monotonic += 1.0
            self.time.wall += 1.0
            self.agent.turn(online=True)

    def _buy(self) -> None:
        visit = (person := Person(self.made)).arrive()
        cohort = visit.expose("checkout").cohort
        if self.random.random() < 0.5:
            visit.observe("revenue", self.means[cohort] * self.random.uniform(0.5, 1.5))
        person.start(visit, 200)
        visit.finish(OutcomeClass.SUCCESS)

    def whys(self, action: str) -> list[str]:
        lines = verbs.history(self.store, "checkout", 20)
        return [one.why for one in reversed(lines) if one.action == action]


def test_a_mean_without_a_cap_finds_one_and_is_proven_by_it() -> None:
    shop = Shop()
    shop.run(300)
    assert shop.entry.phase is Phase.PROMOTED
    (cap,) = shop.entry.caps
    assert 90 <= cap.value <= 180, "stable's p99.5, or less than twice that"
    (said,) = shop.whys("hold")
    assert said.endswith("values of stable are missing")
    _, found = shop.whys("baseline")
    assert found.startswith(f"a visitor counts for at most {cap.value:g} revenue, p99.5 of 2")
    (promotion,) = shop.whys("promote")
    assert promotion.endswith("revenue worse by at most 15% of its cap")


def test_one_that_is_worse_by_more_than_that_goes_back() -> None:
    shop = Shop(canary=20.0)
    shop.run(300)
    assert shop.entry.phase is Phase.ROLLED_BACK
    assert not shop.whys("advance")
