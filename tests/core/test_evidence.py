"""Evidence: sentences known beforehand, and JSON that comes back as it went."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from canary_middleware.core.codec import decode_audit, encode_audit
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.evidence import MOST, evidence_of, read, sentence, told
from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Phase, Plan
from canary_middleware.core.telling import lasting, latency
from canary_middleware.core.totals import Seen
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.errors import StoreCorruptError

CHARGED = Guard.never("charges", name="orders-charged-twice")
GUARDS = (
    Guard.errors(), Guard.latency(), Guard.latency("p50"), Guard.client_errors(),
    Guard.throughput(), Guard.rate("conversions"), Guard.mean("revenue", cap=200.0),
    Guard.never("charges"), Guard.never("charges", name="double-charge"), CHARGED,
)  # fmt: skip


def entry(*guards: Guard, policy: Policy = Policy.FOLLOW) -> Entry:
    plan = Plan("1.4.2", "1.5.0", steps=(1_000, 5_000), guards=guards or GUARDS, policy=policy)
    return Entry(
        "1.5.0", "1.4.2", Phase.RAMPING, 5_000, 1, 3, 5, 1_000.0, "", plan, run=3, begun=400.0
    )


def finding(guard: str, canary: Share, stable: Share, **more: Any) -> Finding:
    given = {"unit": "visitors", "log_e": 6.1, "threshold": 4.60517, "breach": True, **more}
    return Finding(guard, Action.BREACH, guard, canary=canary, stable=stable, **given)


def verdict(*findings: Finding, visitors: tuple[int, int] = (61, 1_204), **more: Any) -> Verdict:
    decision = Decision.ROLLBACK if findings and findings[0].breach else Decision.INCONCLUSIVE
    return Verdict(**{"decision": decision, "proven": False, **more},
                   findings=findings, visitors=visitors)  # fmt: skip


SEVEN = finding("errors", Share(7, 61), Share(9, 1_204))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (SEVEN, "7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"),
        (finding("errors", Share(1, 1), Share(0, 20)),
         "1 of 1 visitor failed on 1.5.0, 0 of 20 on 1.4.2"),
        (finding("errors", Share(7), Share(9)),
         "7 visitors failed on 1.5.0 (61 seen), 9 on 1.4.2 (1,204 seen)"),
        (finding("errors", Share(1), Share(0)),
         "1 visitor failed on 1.5.0 (61 seen), 0 on 1.4.2 (1,204 seen)"),
        (finding("errors", Share(7), Share(9, 1_204)),
         "7 visitors failed on 1.5.0 (61 seen), 9 of 1,204 on 1.4.2"),
        (finding("client-errors", Share(30, 61), Share(2, 1_204)),
         "30 of 61 visitors got a 4xx on 1.5.0, 2 of 1,204 on 1.4.2"),
        (finding("throughput", Share(3, 61), Share(800, 1_204)),
         "3 of 61 visitors came back on 1.5.0, 800 of 1,204 on 1.4.2"),
        (finding("latency", Share(0, 61, (0.2, 0.5, 2.4)), Share(0, 1_204, (0.15, 0.2, 0.31))),
         "p99 of 61 visitors 2.4 s on 1.5.0, 310 ms on 1.4.2"),
        (finding("latency", Share(0, 61, (0.4, 0.5, 0.6)), Share(0, 1_204, (0.1, 0.45, 0.6))),
         "p50 of 61 visitors 400 ms on 1.5.0, 100 ms on 1.4.2"),
        (finding("latency-p50", Share(0, 0, (0.4, 0.5, 9.0)), Share(0, 0, (None, None, None))),
         "p50 400 ms on 1.5.0, unknown on 1.4.2"),
        (finding("latency", Share(0, 9, (0.1, 0.2, math.inf)), Share(0, 9, (0.1, 0.2, 0.3))),
         "p99 of the 9 measured since the baseline over 160 s on 1.5.0, 300 ms on 1.4.2"),
        (finding("latency", Share(0, 1, (0.1, 0.2, 9.0)), Share(0, 9, (0.1, 0.2, 0.3))),
         "p99 of the 1 measured since the baseline 9.0 s on 1.5.0, 300 ms on 1.4.2"),
        (finding("latency", Share(4, 61), Share(9, 1_204)),
         "4 of 61 visitors were slow on 1.5.0, 9 of 1,204 on 1.4.2"),
        (finding("conversions", Share(2, 61), Share(300, 1_204)),
         "conversions: 2 of 61 visitors on 1.5.0, 300 of 1,204 on 1.4.2"),
        (finding("revenue", Share(0, 61, mean=12.345), Share(0, 1_204, mean=20.0)),
         "revenue per visitor: 12.35 on 1.5.0 (61), 20 on 1.4.2 (1,204)"),
        (finding("revenue", Share(0, 0, mean=12.5), Share(0, 3)),
         "revenue per visitor: 12.5 on 1.5.0, unknown on 1.4.2 (3)"),
        (finding("throughput", Share(), Share()),
         "throughput: nobody was measured for long enough yet"),
        (finding("charges", Share(5, 43), Share(0, 812), unit="requests"),
         "5 of 43 requests with charges above 1 on 1.5.0, 0 of 812 on 1.4.2"),
        (finding("double-charge", Share(5, 43), Share(0, 812), unit="requests"),
         "double charge: 5 of 43 requests on 1.5.0, 0 of 812 on 1.4.2"),
        (finding("orders-charged-twice", Share(5, 43), Share(0, 812), unit="requests"),
         "5 of 43 orders charged twice on 1.5.0, 0 of 812 on 1.4.2"),
    ],
)  # fmt: skip
def test_each_guard_has_its_words(found: Finding, words: str) -> None:
    said = sentence(verdict(found), entry())
    assert said == f"rolled back after 61 canary visitors: {words}"
    again = read(_through_the_store(evidence_of(verdict(found), entry(), 60.0)))
    assert again.sentence() == said


def _through_the_store(evidence: dict[str, Any]) -> Any:
    line = Audit(1.0, "agent", "rollback", "checkout", "a", "b", "", 7, evidence)
    return decode_audit(encode_audit(line)).evidence


def test_the_example_of_the_documentation() -> None:
    found = finding("orders-charged-twice", Share(5, 43), Share(0, 812), unit="orders")
    assert sentence(verdict(found, visitors=(43, 812)), entry()) == (
        "rolled back after 43 canary visitors: "
        "5 of 43 orders charged twice on 1.5.0, 0 of 812 on 1.4.2"
    )


def test_every_breach_is_named_the_strongest_first() -> None:
    slow = finding("latency", Share(4, 61), Share(9, 1_204), log_e=9.0)
    quiet = finding("client-errors", Share(9, 61), Share(9, 1_204), breach=False)
    assert sentence(verdict(SEVEN, slow, quiet), entry()) == (
        "rolled back after 61 canary visitors: 4 of 61 visitors were slow on 1.5.0, "
        "9 of 1,204 on 1.4.2; also 7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"
    )


def test_what_was_done_instead_stands_in_front() -> None:
    said = sentence(verdict(SEVEN), entry(), did="paused")
    assert said.startswith("paused after 61 canary visitors: 7 of 61 visitors failed")


def test_requests_drawn_each_anew_are_no_visitors() -> None:
    found = finding("errors", Share(7, 61), Share(9, 1_204), unit="requests")
    assert sentence(verdict(found, visitors=(1, 20)), entry(policy=Policy.REQUEST)) == (
        "rolled back after 1 canary request: 7 of 61 requests failed on 1.5.0, 9 of 1,204 on 1.4.2"
    )


def test_a_promotion_says_what_was_proven() -> None:
    names = ("errors", "latency", "latency-p50", "conversions", "revenue")
    proven = [
        finding(name, Share(1, 900), Share(9, 9_000), breach=False, proven=True) for name in names
    ]
    done = verdict(*proven, visitors=(1_300, 24_000), decision=Decision.PROMOTE, proven=True)
    assert sentence(done, entry()) == (
        "promoted after 1,300 canary visitors: proven up to the margins: errors at most 1 point "
        "worse, visitors above stable's p99 at most 1 point more, visitors above stable's p50 at "
        "most 5 points more, conversions at most 5 points worse, revenue worse by at most 5% of "
        "its cap"
    )


def test_what_was_proven_before_everybody_got_it_stays_proven() -> None:
    margin = "errors at most 1 point worse"
    everybody = replace(entry(), weight=100_000, proven=margin)
    late = verdict(visitors=(610, 9_000), missing=("errors: about 90 more visitors",))
    said = f"proven up to the margins before everybody got it: {margin}"
    assert sentence(late, everybody, did="promoted") == f"promoted: {said}"
    assert told(late, everybody, 1.0).standing() == f"fit for promotion: {said}"
    evidence = evidence_of(late, everybody, 1.0)
    assert (evidence["proven"], evidence["earlier"]) == (True, margin)
    assert read(evidence).sentence("promoted") == f"promoted: {said}"
    worse = replace(late, decision=Decision.ROLLBACK)
    assert evidence_of(worse, everybody, 1.0)["proven"] is False
    assert told(worse, everybody, 1.0).fit is False
    fewer = replace(everybody, weight=50_000)
    assert told(late, fewer, 1.0).fit is False


def test_what_is_proven_is_bounded() -> None:
    guards = tuple(Guard.rate(f"metric-{n}-{'x' * 50}") for n in range(12))
    found = [finding(one.name, Share(), Share(), breach=False, proven=True) for one in guards]
    assert len(told(verdict(*found), entry(*guards), 0.0).proofs) == 400


def test_a_promotion_that_is_not_proven_says_so_and_why() -> None:
    done = verdict(visitors=(2_304, 9_000), missing=("about 1,200 more visitors for errors",))
    said = sentence(done, entry(), did="promoted", age=2 * 3600)
    assert said == (
        "promoted: no regression found in 2,304 canary visitors over 2 h: not proven, "
        "because about 1,200 more visitors for errors"
    )


def test_who_holds_says_what_is_missing() -> None:
    waits = finding("errors", Share(1, 61), Share(9, 1_204), breach=False,
                    missing="about 1,200 more visitors")  # fmt: skip
    assert sentence(verdict(waits), entry()) == (
        "holding after 61 canary visitors: errors: about 1,200 more visitors"
    )
    whole = replace(verdict(waits), missing=("no traffic for 2 h", "approval"))
    assert sentence(whole, entry()) == (
        "holding after 61 canary visitors: no traffic for 2 h; approval"
    )
    assert sentence(verdict(), entry()) == (
        "holding after 61 canary visitors: no regression found so far"
    )


def test_before_anything_is_done_it_says_how_it_stands() -> None:
    said = told(verdict(SEVEN), entry(), 60.0).standing()
    assert said == "worse: 7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"
    waits = verdict(missing=("about 1,200 more visitors for errors",))
    assert told(waits, entry(), 60.0).standing() == (
        "missing for a promotion: about 1,200 more visitors for errors"
    )
    assert told(replace(waits, decision=Decision.PROMOTE), entry(), 60.0).standing() == (
        "fit for promotion: no regression found in 61 canary visitors over 11 min: not proven, "
        "because about 1,200 more visitors for errors"
    )
    assert told(verdict(), entry(), 0.0).standing() == "no regression found so far"
    quiet = replace(SEVEN, breach=False, detectable=2.46)
    assert told(verdict(quiet), entry(), 0.0).standing() == (
        "no regression found so far; errors 2.5 times as high would have been seen"
    )


@pytest.mark.parametrize(("found", "words"), [
    (finding("errors", Share(0, 61), Share(0, 1_204), detectable=28.5),
     "errors in 1.2% of visitors"),
    (finding("errors", Share(0, 61), Share(4, 20), detectable=9.0), "errors in 100% of visitors"),
    (finding("errors", Share(0, 61), Share(5, 1_204), detectable=6.0), "errors 6.0 times as high"),
    (finding("charges", Share(0, 61), Share(0, 199), detectable=8.0, unit="requests"),
     "charges in 2% of requests"),
    (finding("latency", Share(0, 61), Share(0, 199), detectable=3.0),
     "latency: 3.0 times as many visitors above stable's p99"),
])  # fmt: skip
def test_what_would_have_been_seen_is_told_where_it_is_not_proven(
    found: Finding, words: str
) -> None:
    quiet = replace(found, breach=False)
    said = told(verdict(quiet), entry(), 0.0).standing()
    assert said == f"no regression found so far; {words} would have been seen"
    proven = verdict(replace(quiet, proven=True))
    assert told(proven, entry(), 0.0).standing() == "no regression found so far"


def test_one_visitor_is_no_visitors() -> None:
    found = finding("latency", Share(0, 1, (0.1, 0.2, 9.0)), Share(0, 9, (0.1, 0.2, 0.3)))
    assert sentence(verdict(found, visitors=(1, 9)), entry()).endswith(
        "p99 of 1 visitor 9.0 s on 1.5.0, 300 ms on 1.4.2"
    )


def test_where_no_visitor_was_drawn_requests_are_told() -> None:
    seen = {Cohort.CANARY: Seen(), Cohort.STABLE: Seen()}
    seen[Cohort.CANARY].kinds[OutcomeClass.SERVER_ERROR] = 8
    found = finding("errors", Share(5), Share(1))
    again = read(evidence_of(verdict(found, visitors=(0, 0)), entry(), 1.0, seen=seen))
    assert again.requests == (8, 0)
    assert again.sentence() == (
        "rolled back after 8 canary requests: 5 visitors failed on 1.5.0, 1 on 1.4.2"
    )


def test_evidence_keeps_the_numbers() -> None:
    drill = Drill(Fault.ERROR, 20_000, 990.0, 60)
    evidence = evidence_of(verdict(SEVEN), entry(), 30.5, drill=drill)
    row = evidence.pop("guards")[0]
    assert evidence == {
        "decision": "rollback", "proven": False, "release": "1.5.0", "stable": "1.4.2",
        "unit": "visitors", "visitors": [61, 1_204], "requests": None, "weight": "5%", "step": 1,
        "seconds_in_step": 30.5, "seconds": 630.5, "drill": "error in 20%", "mismatch": 0.0,
        "missing": [], "omitted": 0, "earlier": "",
    }  # fmt: skip
    assert (row["guard"], row["kind"], row["margin"]) == ("errors", "failures", "1%")
    assert (row["canary"], row["stable"]) == ({"events": 7, "of": 61}, {"events": 9, "of": 1_204})
    assert (row["log_e"], row["threshold"], row["proof"]) == (6.1, 4.60517, None)
    assert read(evidence | {"guards": [row]}).sentence().endswith(" (drill: error in 20%)")


def test_a_finding_comes_back_as_it_was() -> None:
    found = replace(SEVEN, proof=-0.5, needed=3.0, suspect=True, missing="more", detectable=2.5)
    assert read(evidence_of(verdict(found), entry(), 0.0)).verdict.findings == (found,)


def test_evidence_is_bounded_and_keeps_what_says_most() -> None:
    guards = tuple(Guard.rate(f"metric-{n}-{'x' * 40}") for n in range(32))
    text = "y" * 900
    findings = [
        finding(guard.name, Share(1, 2), Share(1, 2), breach=n == 31, missing=text)
        for n, guard in enumerate(guards)
    ]
    many = verdict(*findings, decision=Decision.ROLLBACK, missing=(text,) * 40)
    evidence = evidence_of(many, entry(*guards), 1.0)
    assert len(json.dumps(evidence)) < 12_000
    assert len(evidence["guards"]) == MOST
    assert evidence["omitted"] == 32 - MOST
    assert evidence["guards"][-1]["guard"] == guards[31].name


def test_what_has_no_number_in_json_is_bounded() -> None:
    found = finding("latency", Share(0, 1, (0.1, None, math.inf)), Share(), log_e=math.inf)
    evidence = evidence_of(verdict(found, mismatch=math.nan), entry(), 0.0)
    json.dumps(evidence, allow_nan=False)
    assert evidence["mismatch"] is None
    assert evidence["guards"][0]["log_e"] == 1e9


def broken(**changes: Any) -> dict[str, Any]:
    evidence = evidence_of(verdict(SEVEN), entry(), 1.0)
    guards = {name: changes.pop(name) for name in list(changes) if name in evidence["guards"][0]}
    evidence["guards"][0] |= guards
    return evidence | changes


@pytest.mark.parametrize(
    ("evidence", "place"),
    [
        ({}, "evidence has no guards"),
        ({"precaution": True}, "evidence has no guards"),
        (broken(decision="shrug"), "evidence.decision"),
        (broken(visitors=[1]), "evidence.visitors"),
        (broken(visitors=[-1, 2]), "evidence.visitors.0"),
        (broken(release="a\x1b[2J"), "evidence.release"),
        (broken(kind="mood"), "evidence.guards.0.kind"),
        (broken(log_e=math.inf), "evidence.guards.0.log_e"),
        (broken(breach=1), "evidence.guards.0.breach"),
        (broken(canary={"events": 1}), "evidence.guards.0.canary has no of"),
        (broken(guards="many"), "evidence.guards"),
    ],
)
def test_what_is_no_evidence_is_refused_with_its_place(
    evidence: dict[str, Any], place: str
) -> None:
    with pytest.raises(StoreCorruptError) as caught:
        read(evidence)
    assert str(caught.value).startswith(place)


def test_members_of_later_versions_do_no_harm() -> None:
    again = read(broken(later=1, canary={"events": 7, "of": 61, "quantiles": [0.1] * 9}))
    assert len(again.verdict.findings[0].canary.quantiles) == 3


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0042, "4.2 ms"), (0.31, "310 ms"), (0.9999, "1.0 s"), (2.41, "2.4 s"), (12.6, "13 s")],
)
def test_latencies(seconds: float, words: str) -> None:
    assert latency(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(12.4, "12 s"), (60, "1 min"), (90, "90 s"), (600, "10 min"), (7200, "2 h"), (5400, "90 min")],
)
def test_times(seconds: float, words: str) -> None:
    assert lasting(seconds) == words
