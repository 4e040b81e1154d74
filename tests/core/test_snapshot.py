from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.bucket import SPACE, lane_key, threshold
from canary_middleware.core.model import Assignment, Cohort, Reason, Rescue, Rollout
from canary_middleware.core.snapshot import CANARY_REASONS, Snapshot, Track, compile_snapshot
from canary_middleware.core.state import ACTIVE, Document, Entry, Kill, Phase
from canary_middleware.core.weight import FULL
from tests.core.control import CHECKOUT, KILL, SECRET, document, entry, killed, lane

SEARCH = Rollout("search", "1", "2", paths=("/search", "/find"), rescue=Rescue(methods=("PUT",)))
PAY = Rollout("pay", "1", "2", paths=("/search/pay",), methods=("POST",), rescue=Rescue(methods=()))


def snapshot(*rollouts: Rollout, found: Document | None = None) -> Snapshot:
    return compile_snapshot([Track.of(rollout, "shop", SECRET) for rollout in rollouts], found)


@pytest.mark.parametrize(
    ("found", "gate"),
    [
        (None, Reason.IDLE),
        (document(), Reason.IDLE),
        (Document("lineage"), Reason.IDLE),
        (document(entry(Phase.IDLE, 0)), Reason.IDLE),
        (document(entry(Phase.ROLLED_BACK, 0)), Reason.ROLLED_BACK),
        (document(entry(release="3")), Reason.OTHER_RELEASE),
        (document(entry(), entry(release="3"), current="3"), None),
        (document(entry(), rollout="another"), Reason.IDLE),
        (document(entry(Phase.PROMOTED)), None),
        (document(entry(Phase.FINISHED)), None),
        (killed(document(entry())), Reason.KILL_SWITCH),
        (killed(document(entry()), "checkout"), Reason.KILL_SWITCH),
        (killed(document(entry()), "another"), None),
        (killed(Document("lineage")), Reason.KILL_SWITCH),
        (killed(document(entry(Phase.ROLLED_BACK))), Reason.KILL_SWITCH),
        (killed(document(entry(Phase.PROMOTED))), Reason.KILL_SWITCH),
        (killed(document(entry(release="3"))), Reason.KILL_SWITCH),
    ],
)
def test_gates(found: Document | None, gate: Reason | None) -> None:
    assert lane(found).gate is gate


@pytest.mark.parametrize("phase", [*Phase])
def test_only_serving_phases_lack_a_gate(phase: Phase) -> None:
    under = lane(document(entry(phase, 5_000)))
    assert (under.gate is None) is (phase in ACTIVE | {Phase.PROMOTED, Phase.FINISHED})
    assert under.active is (phase in ACTIVE)


def test_a_local_kill_needs_no_document() -> None:
    compiled = compile_snapshot([Track.of(CHECKOUT, "shop", SECRET)], None, KILL)
    assert compiled.by_name["checkout"].gate is Reason.KILL_SWITCH
    assert compiled.by_name["checkout"].kill is KILL


@pytest.mark.parametrize(
    ("found", "limit"),
    [
        (entry(Phase.RAMPING, 0), 0),
        (entry(Phase.RAMPING, 1), threshold(1)),
        (entry(Phase.PAUSED, FULL // 2), SPACE // 2),
        (entry(Phase.PAUSED, FULL), SPACE),
        (entry(Phase.PROMOTED, 5_000), SPACE),
        (entry(Phase.FINISHED, 0), SPACE),
    ],
)
def test_limits(found: Entry, limit: int) -> None:
    assert lane(document(found)).limit == limit


def test_there_is_one_assignment_for_every_reason_and_it_says_where_it_comes_from() -> None:
    under = lane(document(entry(weight=5_000, epoch=11, period=13)))
    forbidden = set(Reason) - set(CANARY_REASONS)
    assert {Reason.KILL_SWITCH, Reason.STALE_CONTROL, Reason.DENIED, Reason.ERROR} < forbidden
    for reason in forbidden:
        with pytest.raises(KeyError):
            under.canary[reason]
    for side, reasons, cohort, version in (
        (under.stable, Reason, "stable", "1"),
        (under.canary, CANARY_REASONS, "canary", "2"),
    ):
        for reason in reasons:
            found = side[reason]
            assert side[reason] is found
            assert found.reason is reason
            assert (found.cohort.value, found.version) == (cohort, version)
            assert (found.rollout, found.release) == ("checkout", "2")
            assert (found.epoch, found.period, found.weight) == (11, 13, 5_000)
            assert found.measured is (reason is Reason.WEIGHT)


def test_attributes_are_described_once_per_assignment() -> None:
    def describe(assignment: Assignment) -> Mapping[str, Any]:
        return {"reason": assignment.reason.value, "cohort": assignment.cohort.value}

    track = Track.of(CHECKOUT, "shop", SECRET)
    under = compile_snapshot([track], None, None, describe).by_name["checkout"]
    assert under.stable[Reason.IDLE].attributes == {"reason": "idle", "cohort": "stable"}
    assert under.canary[Reason.WEIGHT].attributes == {"reason": "weight", "cohort": "canary"}
    assert lane(None).stable[Reason.IDLE].attributes == {}


def test_a_lane_that_is_as_it_was_is_taken_over() -> None:
    search = Rollout("search", "1", "2")
    tracks = [Track.of(rollout, "shop", SECRET) for rollout in (CHECKOUT, search)]
    running = document(entry(weight=5_000))
    before = compile_snapshot(tracks, running)

    def taken_over(found: Document | None, local: Kill | None = None) -> list[bool]:
        after = compile_snapshot(tracks, found, local, None, before)
        fresh = compile_snapshot(tracks, found, local)
        assert [(lane.gate, lane.limit, repr(lane.above)) for lane in after.lanes] == [
            (lane.gate, lane.limit, repr(lane.above)) for lane in fresh.lanes
        ]
        assert after.mark is not before.mark
        return [lane is old for lane, old in zip(after.lanes, before.lanes, strict=True)]

    assert taken_over(replace(running, revision=running.revision + 1)) == [True, True]
    assert taken_over(document(entry(weight=6_000))) == [False, True]
    assert taken_over(document(entry(Phase.RAMPING, 5_000))) == [False, True]
    assert taken_over(replace(running, kills={"search": KILL})) == [True, False]
    assert taken_over(replace(running, kills={"*": KILL})) == [False, False]
    assert taken_over(running, KILL) == [False, False]
    assert taken_over(None) == [False, True]


def test_the_key_depends_on_configuration_only() -> None:
    track = Track.of(CHECKOUT, "shop", SECRET)
    assert track.key == lane_key(SECRET, "shop", "checkout", "2")
    assert Track.of(replace(CHECKOUT, stable="0", paths=("/x",)), "shop", SECRET).key == track.key
    assert track.prefix == "/"
    assert track.rescue_share == 20_000


@pytest.mark.parametrize(
    ("path", "method", "names"),
    [
        ("/search", "GET", {"search"}),
        ("/find/x", "GET", {"search"}),
        ("/search/pay", "GET", {"search"}),
        ("/search/pay", "POST", {"search", "pay"}),
        ("/searching", "GET", None),
        ("/", "GET", None),
        ("", "GET", None),
    ],
)
def test_matching(path: str, method: str, names: set[str] | None) -> None:
    compiled = snapshot(SEARCH, PAY)
    found = compiled.match(path, method)
    assert (set(found.names) if found else None) == names
    if found is not None:
        assert [under.name for under in found.lanes] == [
            n for n in ("search", "pay") if n in found.names
        ]
        assert path.startswith(compiled.below)


def test_matches_are_shared_and_know_what_may_run_twice() -> None:
    compiled = snapshot(SEARCH, PAY, CHECKOUT)
    assert compiled.match("/search", "GET") is compiled.match("/find", "PUT")
    assert compiled.match("/search", "GET") is not compiled.match("/search/pay", "POST")
    one = compiled.match("/search/pay", "POST")
    assert one is not None
    assert one.replay_methods == {"PUT", "GET", "HEAD", "OPTIONS"}
    pay = snapshot(PAY).match("/search/pay", "POST")
    assert pay is not None
    assert pay.replay_methods == set()


def test_more_lanes_than_bits_of_a_byte() -> None:
    many = [Rollout(f"r{number}", "1", "2", paths=(f"/{number}",)) for number in range(70)]
    compiled = snapshot(*many)
    for number in range(70):
        found = compiled.match(f"/{number}", "GET")
        assert found is not None
        assert found.names == {f"r{number}"}


def test_revision() -> None:
    assert snapshot(CHECKOUT).revision == 0
    assert snapshot(CHECKOUT, found=document(entry())).revision == 5


def test_below_lets_every_covered_path_through() -> None:
    assert snapshot(SEARCH).below == ("/search", "/find")
    assert snapshot(SEARCH, CHECKOUT).below == ("/search", "/find", "/")
    assert lane(None).stable[Reason.IDLE].cohort is Cohort.STABLE
