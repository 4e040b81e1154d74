"""Scenarios: kill before, during and after; rescue and its limits; exposure that comes late."""

from __future__ import annotations

from collections.abc import Mapping

from canary_middleware import Cohort, Rescue, Rollout
from canary_middleware.core.model import SAFE_METHODS
from canary_middleware.core.rescue import FLOOR, MAX_REPLAY
from canary_middleware.core.state import Verb
from canary_middleware.core.weight import FULL
from tests.scenarios import apps
from tests.scenarios.apps import (
    BoomError,
    answer_by_version,
    failing_echo,
    killed_meanwhile,
    plain,
    raising,
    version,
)
from tests.scenarios.rows_answers import OURS, PRIVATE
from tests.scenarios.site import Site
from tests.scenarios.words import TEXT, Ask, Expect, Handler, Row

NO_STORE = {"vary": "Cookie", "cache-control": "no-store"}
SUPERSEDED = {"canary superseded": 1, "stable 2xx": 1}
WITH_POST = {"rescue": Rescue(methods=(*SAFE_METHODS, "POST"))}
KEYED = {"rescue": Rescue(keyed=["/checkout/orders"])}
KEY = (("idempotency-key", '"8e03978e"'),)
KEPT = b"k" * MAX_REPLAY
TOO_LONG = KEPT + b"!"
A_GET = Ask()


def fill_budget(site: Site) -> None:
    """As many rescues are under way as are always allowed."""
    for _ in range(FLOOR):
        assert site.engine.recorder.enter_rescue(FULL // 5)
    site.engine.recorder.events.clear()


POST_DURING_A_KILL = Row(
    "kill during a POST: it finishes on canary, once, and is counted",
    killed_meanwhile,
    [
        (
            Ask(method="POST", body=b"order"),
            Expect(body=b"2", arrivals=["canary ran", "killed", "got 2"]),
        )
    ],
    {"canary 2xx": 1},
    {"in_flight_at_kill": 1},
)

KILLS = [
    Row(
        "killed before",
        version,
        [
            (Ask(before=Site.kill), Expect(body=b"1", headers=OURS)),
            (Ask(who=Cohort.CANARY), Expect(body=b"1", headers=OURS)),
            (Ask(method="POST"), Expect(body=b"1", headers=OURS)),
        ],
        {"stable 2xx": 3},
    ),
    Row(
        "revived: paused at the old weight",
        version,
        [
            (Ask(before=Site.kill), Expect(body=b"1")),
            (Ask(before=lambda site: site.verb(Verb.REVIVE)), Expect(body=b"2")),
        ],
        {"stable 2xx": 1, "canary 2xx": 1},
    ),
    Row(
        "kill during a GET: stable answers",
        killed_meanwhile,
        [
            (
                Ask(),
                Expect(body=b"1", headers=OURS, arrivals=["canary ran", "killed", "got 1"]),
            )
        ],
        SUPERSEDED,
        {"in_flight_at_kill": 1},
    ),
    Row(
        "kill during a GET: a handler that catches errors sees none of it",
        apps.guarded,
        [(Ask(), Expect(body=b"1", arrivals=["canary ran", "killed", "got 1"]))],
        SUPERSEDED,
        {"in_flight_at_kill": 1},
    ),
    Row(
        "kill during a GET, rescue disabled: a kill supersedes all the same",
        killed_meanwhile,
        [(Ask(), Expect(body=b"1"))],
        SUPERSEDED,
        {"in_flight_at_kill": 1},
        rollout={"rescue": Rescue(enabled=False)},
    ),
    POST_DURING_A_KILL,
    Row(
        "kill while streaming: what has started finishes",
        apps.killed_while_streaming,
        [(Ask(), Expect(body=b"22", headers=OURS))],
        {"canary 2xx": 1},
        {"in_flight_at_kill": 1},
    ),
    Row(
        "kill after one rollout was read and before another is: only the killed one changes",
        apps.killed_between_two_reads,
        [(Ask(), Expect(body=b"1b", headers=OURS))],
        {"canary superseded": 1, "stable 2xx": 1, "canary 2xx": 1},
        {"in_flight_at_kill": 1},
        more=[Rollout("search", stable="a", canary="b")],
    ),
    Row(
        "kill of another rollout while stable answers for a killed one: it is superseded again",
        apps.killed_one_by_one,
        [(Ask(), Expect(body=b"1a", headers=OURS))],
        {"canary superseded": 2, "stable 2xx": 2},
        {"in_flight_at_kill": 3},
        more=[Rollout("search", stable="a", canary="b")],
    ),
    Row(
        "kill of another rollout before the second run reads it: it reads stable",
        apps.killed_before_it_is_read_again,
        [(Ask(), Expect(body=b"1a", headers=OURS, arrivals=["killed", "got 1a"]))],
        {"canary superseded": 1, "stable 2xx": 2},
        {"in_flight_at_kill": 2},
        more=[Rollout("search", stable="a", canary="b")],
    ),
    Row(
        "kill during a GET that then raises: stable answers, no rescue is booked",
        answer_by_version(version, apps.killing_then_raising),
        [(Ask(), Expect(body=b"1", headers=OURS))],
        SUPERSEDED,
        {"in_flight_at_kill": 1},
    ),
]


def rescued(name: str, app: Handler, ask: Ask = A_GET, body: bytes = b"1") -> Row:
    """Stable answers for a failed canary; the failure is the canary's and stable gets nothing."""
    return Row(
        f"rescue: {name}",
        app,
        [(ask, Expect(body=body, headers=NO_STORE))],
        {"canary rescued": 1},
        {"rescues": 1},
        rollout=WITH_POST,
    )


def not_rescued(
    name: str, ask: Ask, row_counts: dict[str, int], events: dict[str, int] | None = None,
    rollout: Mapping[str, object] | None = None,
) -> Row:  # fmt: skip
    """The failure of the canary goes through as it is."""
    return Row(
        f"no rescue: {name}",
        failing_echo,
        [(ask, Expect(500, b"canary broke", headers=OURS))],
        row_counts,
        events or {},
        rollout=rollout or {},
    )


BROKEN = {"canary 5xx": 1}
RESCUES = [
    rescued("a 500", answer_by_version(version, plain(500))),
    rescued("a 503 of HEAD", answer_by_version(version, plain(503)), Ask(method="HEAD")),
    rescued("raising", answer_by_version(version, raising)),
    rescued(
        "an answer that stable makes public is kept by nobody",
        answer_by_version(plain(headers=(TEXT, ("cache-control", "public"))), raising),
        body=b"x",
    ),
    rescued(
        "a POST that opted in, with its body",
        failing_echo,
        Ask(method="POST", body=KEPT),
        b"1:" + KEPT,
    ),
    Row(
        "rescue: one after the other, the budget is given back",
        answer_by_version(version, raising),
        [(Ask(), Expect(body=b"1", headers=NO_STORE))] * (FLOOR + 2),
        {"canary rescued": FLOOR + 2},
        {"rescues": FLOOR + 2},
    ),
    Row(
        "rescue: a visitor who is new gets the cookie all the same",
        answer_by_version(version, raising),
        [
            (Ask(), Expect(body=b"1", issued=True)),
            (Ask(jar=True), Expect(body=b"1", issued=False)),
        ],
        {"canary rescued": 2},
        {"rescues": 2},
        weight="99.999%",
    ),
    Row(
        "rescue: stable fails as well, once",
        answer_by_version(plain(502), plain(500)),
        [(Ask(), Expect(502, b"x", NO_STORE))],
        {"canary rescued": 1},
        {"rescues": 1},
    ),
    Row(
        "rescue: stable raises as well",
        answer_by_version(raising, raising),
        [(Ask(), Expect(0, b"", raises=BoomError))] * (FLOOR + 1),
        {"canary rescued": FLOOR + 1},
        {"rescues": FLOOR + 1},
    ),
    not_rescued("a POST", Ask(method="POST", body=b"order"), BROKEN),
    Row(
        "rescue: a POST with an Idempotency-Key where the rollout knows them",
        failing_echo,
        [
            (
                Ask("/checkout/orders/7", method="POST", headers=KEY, body=b"order"),
                Expect(body=b"1:order", headers=NO_STORE),
            )
        ],
        {"canary rescued": 1},
        {"rescues": 1},
        rollout=KEYED,
    ),
    not_rescued(
        "a POST without a key",
        Ask("/checkout/orders", method="POST", body=b"order"),
        BROKEN,
        rollout=KEYED,
    ),
    not_rescued(
        "a key that is empty",
        Ask("/checkout/orders", method="POST", headers=(("idempotency-key", ""),)),
        BROKEN,
        rollout=KEYED,
    ),
    not_rescued(
        "a key elsewhere",
        Ask("/checkout/ordering", method="POST", headers=KEY, body=b"order"),
        BROKEN,
        rollout=KEYED,
    ),
    not_rescued(
        "a long POST with a key",
        Ask("/checkout/orders", method="POST", headers=KEY, body=TOO_LONG),
        BROKEN,
        rollout=KEYED,
    ),
    not_rescued("a long POST", Ask(method="POST", body=TOO_LONG), BROKEN, rollout=WITH_POST),
    not_rescued("disabled", Ask(), BROKEN, rollout={"rescue": Rescue(enabled=False)}),
    not_rescued("no budget", Ask(before=fill_budget), BROKEN, {"rescues_over_budget": 1}),
    Row(
        "no rescue: a POST that raises",
        answer_by_version(version, raising),
        [(Ask(method="POST"), Expect(0, b"", raises=BoomError))],
        {"canary exception": 1},
    ),
    Row(
        "no rescue: an error of stable is stable's",
        answer_by_version(plain(500), version),
        [(Ask(), Expect(500, b"x", OURS))],
        {"stable 5xx": 1},
        weight="0%",
    ),
    Row(
        "no rescue: an error of the client is an answer",
        answer_by_version(version, plain(404)),
        [(Ask(), Expect(404, b"x", OURS))],
        {"canary 4xx": 1},
    ),
]

LATE = [
    Row(
        "late: read after the start",
        apps.late,
        [(Ask(), Expect(headers={"vary": None, "cache-control": None}))],
        {"canary 2xx": 1},
        {"late_exposure": 1},
    ),
    Row(
        "late: a background task goes on reading what it was",
        apps.background,
        [
            (
                Ask(),
                Expect(
                    body=b"done",
                    headers={**OURS, "x-version": "2"},
                    arrivals=["got done", "afterwards 2 weight"],
                ),
            )
        ],
        {"canary 2xx": 1},
    ),
]

TARGETS = [
    Row(
        "target: the canary is an application of its own",
        plain(chunks=[b"stable app"]),
        [
            (Ask(who=Cohort.CANARY), Expect(body=b"2", headers=OURS)),
            (Ask(who=Cohort.STABLE), Expect(body=b"stable app", headers=OURS)),
        ],
        {"canary 2xx": 1, "stable 2xx": 1},
        weight="50%",
        target=version,
    ),
    Row(
        "target: out of scope it is not asked",
        plain(chunks=[b"stable app"]),
        [(Ask("/healthz"), Expect(body=b"stable app", headers={"vary": None}))],
        target=version,
    ),
    Row(
        "target: rescued by the wrapped application",
        plain(chunks=[b"stable app"]),
        [(Ask(), Expect(body=b"stable app", headers=NO_STORE))],
        {"canary rescued": 1},
        {"rescues": 1},
        target=raising,
    ),
    Row(
        "target: superseded by a kill",
        plain(chunks=[b"stable app"]),
        [(Ask(), Expect(body=b"stable app", headers={"cache-control": PRIVATE}))],
        SUPERSEDED,
        {"in_flight_at_kill": 1},
        target=killed_meanwhile,
    ),
]

ROWS = [*KILLS, *RESCUES, *LATE, *TARGETS]
