"""Everybody's way through all moves of the weight, and what each policy promises of it.

Each policy has an application of its own, once with cookies and once with shared affinity; half of
the visitors are anonymous browsers, the others are users, who keep no cookies where the store
remembers them.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from canary_middleware import verbs
from canary_middleware.agent.claiming import TOUCH_EVERY
from canary_middleware.core.weight import FULL, parse_weight
from tests.support.clients import SAME_ORIGIN_NAVIGATION, AsyncVisitor, Cookies, Pool, Response
from tests.support.servers import wait_until
from tests.system.crowd import AT_ONCE
from tests.system.rig import Rig, seen
from tests.system.site import CANARY, STABLE

POLICIES = ("follow", "keep", "session", "request")
NEXT = "3.0"
"""The release after the next."""
SESSION = 4.0
"""Seconds of a brief session. With shared affinity it may last longer by ``TOUCH_EVERY``."""

Versions = dict[int, str]
Crowd = dict[int, AsyncVisitor]


def plans(kinds: Sequence[str]) -> dict[str, dict[str, str]]:
    """By application: ``keep``, ``keep-shared`` and so on; ``brief`` is a short session."""
    return {kind: _plan(*kind.partition("-")[::2]) for kind in kinds}


def _plan(policy: str, affinity: str) -> dict[str, str]:
    brief = {"policy": "session", "session": f"{SESSION:.0f}s"}
    return {
        **(brief if policy == "brief" else {"policy": policy}),
        "affinity": affinity or "cookie",
    }


class Jarless(Cookies):
    """Nothing is kept, though it is noted what was to be."""

    def take(self, response: Response) -> None:
        super().take(response)
        self.values.clear()


def crowd(app: str, numbers: range) -> Crowd:
    nowhere, made = Pool(0, 0), {}
    for number in numbers:
        user = {"X-User": f"{app} user {number}"} if number % 2 else {}
        made[number] = AsyncVisitor(nowhere, user)
        if user and app.endswith("-shared"):
            made[number].cookies = Jarless()
    return made


async def look(port: int, crowds: Mapping[str, Crowd]) -> dict[str, Versions]:
    """What each of them gets from one address."""
    found: dict[str, Versions] = {app: {} for app in crowds}

    async def ask(app: str, number: int, visitor: AsyncVisitor) -> None:
        visitor.pool = pool
        response = await visitor.get(f"/{app}/", SAME_ORIGIN_NAVIGATION)
        assert response.status == 200
        found[app][number] = json.loads(response.body)["version"]

    async with Pool(port, AT_ONCE) as pool:
        everybody = [(app, n, visitor) for app in crowds for n, visitor in crowds[app].items()]
        await asyncio.gather(*(ask(*one) for one in everybody))
    return found


@dataclass
class Journal:
    """What all visitors of one application saw, by the step of the way.

    Attributes:
        app: its name.
        steps: versions by step and visitor.
        lines: Set-Cookie lines that they got.
    """

    app: str
    steps: dict[str, Versions] = field(default_factory=dict)
    lines: int = 0

    def canary(self, step: str) -> set[int]:
        return {number for number, version in self.steps[step].items() if version == CANARY}

    def among(self, step: str, other: str) -> Versions:
        """What those who were there at ``other`` saw at ``step``."""
        return {number: self.steps[step][number] for number in self.steps[other]}


def near(found: int, of: int, weight: str) -> bool:
    """Within five standard deviations."""
    share = parse_weight(weight) / FULL
    return abs(found - share * of) <= 5 * math.sqrt(share * (1 - share) * of)


class Way:
    """The way itself.

    Args:
        rig: serves an application for each of ``apps``.
        apps: their names.
        visitors: of each.
    """

    def __init__(self, rig: Rig, apps: Sequence[str], visitors: int) -> None:
        self.rig = rig
        self.front = rig.front()
        self.stores = {app: rig.store(app) for app in apps}
        self.crowds = {app: crowd(app, range(visitors)) for app in apps}
        self.journals = {app: Journal(app) for app in apps}
        self.wake()

    def wake(self) -> None:
        """Some servers begin with their first visit."""
        for app in self.stores:
            for worker in self.rig.workers:
                seen(worker, f"/{app}/")

    def look(self, step: str) -> None:
        for app, versions in asyncio.run(look(self.front.port, self.crowds)).items():
            self.journals[app].steps[step] = versions
            self.journals[app].lines = sum(
                len(visitor.cookies.lines) for visitor in self.crowds[app].values()
            )

    def join(self, numbers: range) -> None:
        """Newcomers."""
        for app in self.crowds:
            self.crowds[app] |= crowd(app, numbers)

    def start(self, weight: str, *, again: bool = False) -> None:
        for app in self.stores:
            self.rig.started(parse_weight(weight), app, again=again)
        self.settled()

    def weigh(self, weight: str) -> None:
        for app, store in self.stores.items():
            verbs.weight(store, app, parse_weight(weight), by="test")
        self.settled()

    def each(self, verb: str) -> None:
        for app, store in self.stores.items():
            getattr(verbs, verb)(store, app, by="test")
        self.settled()

    def settled(self) -> None:
        """Wait until all workers say that they follow."""
        for app, store in self.stores.items():
            wait_until(partial(self.rig.followed, store), what=f"{app} is followed")

    def go(self) -> None:
        """Up and down, then a kill, a rollback and two releases."""
        count = len(next(iter(self.crowds.values())))
        self.start("50%")
        self.look("50 %")
        self.look("50 % again")
        self.join(range(count, 2 * count))
        for step, weight in (("10 %", "10%"), ("0 %", "0%"), ("100 %", "100%"), ("back", "50%")):
            self.weigh(weight)
            self.look(step)
        self.each("kill")
        self.look("killed")
        self.each("revive")
        self.weigh("10%")
        self.look("revived at 10 %")
        self.each("rollback")
        self.look("rolled back")
        self.start("0%", again=True)
        self.look("started again at 0 %")

    def release(self, *servers: str) -> None:
        """The next one takes over at 50 %, where everybody was on the last one's canary."""
        self.weigh("100%")
        self.look("all in")
        self.each("promote")
        given = self.rig.setup.plans
        self.rig.setup = replace(
            self.rig.setup, plans={app: {**given[app], "stable": CANARY, "canary": NEXT}
                                   for app in given},
        )  # fmt: skip
        for worker in self.rig.workers:
            worker.process.terminate()
        self.rig.workers.clear()
        fresh = self.rig.serve(*servers)
        self.front.only(worker.port for worker in fresh)
        self.wake()
        self.start("50%")
        self.look("next release")


# --- what each of them promises -------------------------------------------------------------------


def follows(saw: Journal) -> None:
    first = saw.canary("50 %")
    assert near(len(first), len(saw.steps["50 %"]), "50%")
    assert saw.steps["50 % again"] == saw.steps["50 %"], "nobody moves without a reason"
    at_ten = {n for n in saw.canary("10 %") if n in saw.steps["50 %"]}
    assert at_ten < first, "the few are some of the many"
    assert saw.canary("0 %") == set(), "nobody at 0 %"
    assert saw.canary("100 %") == saw.steps["100 %"].keys(), "everybody at 100 %"
    assert {n for n in saw.canary("back") if n in saw.steps["50 %"]} == first, "as it was"


def keeps(saw: Journal) -> None:
    first, old = saw.canary("50 %"), saw.steps["50 %"]
    assert near(len(first), len(old), "50%")
    for step in ("50 % again", "10 %", "0 %"):
        assert saw.among(step, "50 %") == old, "nobody who saw the canary is moved"
    newcomers = saw.canary("10 %") - old.keys()
    assert near(len(newcomers), len(saw.steps["10 %"]) - len(old), "10%"), "newcomers"
    assert saw.canary("0 %") == first | newcomers
    assert saw.canary("back") == saw.steps["100 %"].keys(), "who was in at 100 % stays in"


def sessions(saw: Journal) -> None:
    first, old = saw.canary("50 %"), saw.steps["50 %"]
    assert near(len(first), len(old), "50%")
    newcomers = saw.canary("10 %") - old.keys()
    assert near(len(newcomers), len(saw.steps["10 %"]) - len(old), "10%"), "newcomers"
    for step in ("50 % again", "10 %", "0 %", "100 %", "back"):
        assert saw.among(step, "50 %") == old, "a session goes on as it began"
    for step in ("0 %", "100 %", "back"):
        assert saw.canary(step) == first | newcomers, "a session goes on as it began"


def spreads(saw: Journal) -> None:
    for step, weight in (("50 %", "50%"), ("50 % again", "50%"), ("10 %", "10%"), ("back", "50%")):
        assert near(len(saw.canary(step)), len(saw.steps[step]), weight), "even spread"
    assert saw.canary("50 %") != saw.canary("50 % again"), "each request is drawn anew"
    assert (saw.canary("0 %"), len(saw.canary("100 %"))) == (set(), len(saw.steps["100 %"]))
    assert saw.lines == 0, "no cookie"


PROMISES = {"follow": follows, "keep": keeps, "session": sessions, "request": spreads}


def moved(saw: Journal, *, sticky: bool) -> None:
    """A kill and a rollback move everybody, and nothing from before decides afterwards."""
    anew = "what was before decides no more"
    assert set(saw.steps["killed"].values()) == {STABLE}, "a kill moves everybody"
    revived = saw.canary("revived at 10 %")
    assert near(len(revived), len(saw.steps["killed"]), "10%"), anew
    if sticky:
        assert {n for n in revived if n in saw.steps["50 %"]} <= saw.canary("50 %")
    assert set(saw.steps["rolled back"].values()) == {STABLE}, "a rollback moves everybody"
    assert saw.canary("started again at 0 %") == set(), anew


def released(saw: Journal) -> None:
    """A new release draws everybody anew, also who has a pin of the old one."""
    found = list(saw.steps["next release"].values())
    assert set(found) == {CANARY, NEXT}
    assert near(found.count(NEXT), len(found), "50%"), "a new release moves everybody"


# --- sessions that end ----------------------------------------------------------------------------


def ends(way: Way) -> Mapping[str, Versions]:
    """Sessions outlast the move to 0 % for as long as their owners keep coming, and no longer."""
    way.start("50%")
    way.look("50 %")
    way.weigh("0%")
    for number in range(6):
        time.sleep(0.2 * SESSION)
        way.look(f"visit {number}")
    time.sleep(SESSION + TOUCH_EVERY + 0.5)
    way.look("after the session")
    return {app: journal.steps["50 %"] for app, journal in way.journals.items()}


def ended(saw: Journal) -> None:
    assert near(len(saw.canary("50 %")), len(saw.steps["50 %"]), "50%")
    for number in range(6):
        assert saw.steps[f"visit {number}"] == saw.steps["50 %"], "a session goes on as it began"
    assert saw.canary("after the session") == set(), "after its end it follows"
