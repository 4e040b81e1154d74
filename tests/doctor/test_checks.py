"""Every check by a table, and what is well is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from canary_middleware.core.declared import Waiting
from canary_middleware.core.state import Kill, Phase
from canary_middleware.doctor.application import Mounted, check
from canary_middleware.doctor.diagnosis import diagnose, sorted_by_level
from canary_middleware.doctor.examined import Examined, File, Probed, Searched
from canary_middleware.doctor.finding import Finding, Kind, Level
from tests.doctor.cases import (
    BAD,
    CASES,
    NOTE,
    NOW,
    OK,
    REPORT,
    WARNING,
    Case,
    phased,
    process,
    redis,
    seen,
)

MOUNTED: Final = Mounted(
    "shop:app", "", ("FastAPI", "CanaryMiddleware"), "shop", "True", spans="annotate"
)
APPLICATIONS: Final = (
    (Kind.APPLICATION_OK, OK, MOUNTED),
    (Kind.APPLICATION_UNLOADED, BAD, Mounted("shop:app", "ImportError: no")),
    (Kind.APPLICATION_BARE, WARNING, replace(MOUNTED, stack=("FastAPI",))),
    (Kind.APPLICATION_BARE, NOTE, replace(MOUNTED, stack=("wrap",), unseen=("wrap",))),
    (Kind.APPLICATION_SPANS, WARNING, replace(MOUNTED, instrumented="inside")),
    (
        Kind.APPLICATION_ORDER,
        WARNING,
        replace(
            MOUNTED, stack=(*MOUNTED.stack, "SessionMiddleware"), targets=("a",), identifies=True
        ),
    ),
    (Kind.APPLICATION_NAMESPACE, WARNING, replace(MOUNTED, namespace="blog")),
    (Kind.APPLICATION_UNSEEN, NOTE, replace(MOUNTED, unseen=("wrap",))),
)


def of_kind(found: tuple[Finding, ...], kind: Kind) -> Finding:
    matching = [one for one in found if one.kind is kind]
    assert matching, f"{kind} is not among {[one.kind.value for one in found]}"
    return matching[0]


def test_what_is_declared_and_waits_is_counted() -> None:
    look = seen(REPORT)
    assert look.status is not None
    waits = Waiting("buy", "2.0.0", "canary start buy")
    for rollouts, told in ((look.status.rollouts, "2 rollouts"), ((), "1 rollout")):
        status = replace(look.status, rollouts=rollouts, waiting=(waits,))
        found = of_kind(diagnose(replace(look, status=status)), Kind.ROLLOUTS_OK)
        assert found.what == f"{told}; buy waits for `canary start buy`"


def test_the_kill_of_an_unknown_name_moves_nobody() -> None:
    look = seen(REPORT, kills={"chekout": Kill("me", "", NOW - 90, 7)})
    found = of_kind(diagnose(look), Kind.ROLLOUTS_KILLED)
    assert "nobody was moved: no process declares" in found.why
    assert found.remedy == "canary revive chekout"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind.value}-{case.level.name}")
def test_what_was_seen_is_found(case: Case) -> None:
    found = of_kind(diagnose(case.look), case.kind)
    assert found.level is case.level
    assert not case.place or case.place in found.where
    if case.level > Level.OK:
        assert found.remedy, "each says what to do"


@pytest.mark.parametrize(("kind", "level", "app"), APPLICATIONS)
def test_what_was_seen_of_an_application_is_found(kind: Kind, level: Level, app: Mounted) -> None:
    found = of_kind(tuple(check(app, "shop")), kind)
    assert found.level is level
    assert level is Level.OK or found.remedy


def test_no_kind_is_without_a_case() -> None:
    assert {case.kind for case in CASES} | {kind for kind, _, _ in APPLICATIONS} == {*Kind}


def healthy() -> Iterator[Examined]:
    yield seen(REPORT, process(), configured=True, searched=Searched("/src"))
    yield seen(process(server="uwsgi", threads=True), process(preloaded=True))
    yield seen(REPORT, process(revision=6, at=NOW), changed=NOW - 2)  # it has just changed
    yield seen(REPORT, entry=phased(Phase.PAUSED, 1))
    yield seen(REPORT, entry=replace(phased(Phase.PROMOTED, 0), since=NOW - 60))
    yield seen(process(plans={}), entry=phased(Phase.FINISHED, 99))  # removed from the code
    yield redis(role="master", used_memory="95", maxmemory="0", rdb_last_bgsave_status="ok")
    yield seen(REPORT, probed=Probed(facts={"aof_enabled": "1"}, saves=""))
    yield seen(REPORT, probed=Probed(file=File("/x", "ext4", True, "wal")))


@pytest.mark.parametrize("look", [*healthy()])
def test_what_is_well_is_left_alone(look: Examined) -> None:
    assert [one for one in diagnose(look) if one.level > Level.OK] == []


@pytest.mark.parametrize(
    "app",
    [
        replace(MOUNTED, instrumented="outside"),
        replace(MOUNTED, instrumented="inside", processor=True),
        replace(MOUNTED, instrumented="inside", spans="off"),
        replace(
            MOUNTED, stack=("SessionMiddleware", *MOUNTED.stack), targets=("a",), identifies=True
        ),
        replace(MOUNTED, stack=(*MOUNTED.stack, "SessionMiddleware"), identifies=True),
    ],
)
def test_an_application_that_is_well_is_left_alone(app: Mounted) -> None:
    assert [one for one in check(app, "shop") if one.level > Level.OK] == []


def test_the_worst_comes_first() -> None:
    found = sorted_by_level(diagnose(seen(process(staleness=None, turn=9.0, forked=True))))
    assert [one.level for one in found] == sorted((one.level for one in found), reverse=True)
    assert found[0].kind is Kind.PROCESSES_STALE
