"""Scenes of measured rollouts, made by hand: what a store would tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from canary_middleware.core.evidence import evidence_of
from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Course, Ramp
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Entry, Period, Phase, Plan
from canary_middleware.core.totals import Seen
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.overview.scene import Numbers, Scene, View

NOW = 1_795_230_537.0
GUARDS = (
    *Guard.defaults(),
    Guard.never("charges", name="orders-charged-twice"),
    Guard.rate("conversions"),
    Guard.mean("revenue"),
)
RAMP = Ramp.default()
PLAN = Plan(
    "1.4.2", "1.5.0", ("/checkout",), steps=RAMP.weights, owner="pay@example.com", guards=GUARDS,
    course=Course.of(RAMP, alpha="1%", horizon="15m", timeout="30s"),
)  # fmt: skip
ENTRY = Entry(
    "1.5.0", "1.4.2", Phase.RAMPING, 5_000, 1, 3, 5, NOW - 360, "", PLAN, run=3, begun=NOW - 960,
    periods=(Period(3, 1_000, NOW - 960), Period(5, 5_000, NOW - 360)),
)  # fmt: skip


def seen(successes: int, failures: int, refusals: int, slower: int) -> Seen:
    """All requests of one version."""
    found = Seen()
    found.kinds[OutcomeClass.SUCCESS] = successes
    found.kinds[OutcomeClass.SERVER_ERROR] = failures
    found.kinds[OutcomeClass.CLIENT_ERROR] = refusals
    found.starts[50 + slower], found.starts[66 + slower] = successes, failures
    found.observed["orders-charged-twice"] = [successes // 3, failures // 2]
    return found


SEEN = {Cohort.CANARY: seen(623, 9, 2, 3), Cohort.STABLE: seen(11_905, 98, 31, 0)}


def finding(guard: str, canary: Share, stable: Share, **more: Any) -> Finding:
    """One finding, as harmless as it can be."""
    given = {"action": Action.BREACH, "unit": "visitors", "log_e": 0.3, "threshold": 4.605, **more}
    return Finding(guard=guard, metric=guard, canary=canary, stable=stable, **given)


FINDINGS = (
    finding("errors", Share(7, 61), Share(9, 1_204), log_e=2.2, proof=0.6, needed=3.0,
            suspect=True),
    finding("latency", Share(0, 61, (0.12, 0.3, 0.9)), Share(0, 1_204, (0.1, 0.28, 0.8)),
            log_e=-1.0, proof=3.1, needed=3.0, proven=True),
    finding("client-errors", Share(2, 61), Share(31, 1_204), action=Action.WARN),
    finding("throughput", Share(30, 61), Share(631, 1_204), action=Action.WARN),
    finding("orders-charged-twice", Share(0, 211), Share(0, 4_011), unit="orders"),
    finding("conversions", Share(12, 61), Share(300, 1_204), proof=0.2, needed=3.0),
    finding("revenue", Share(0, 61, mean=12.3), Share(0, 1_204, mean=12.9)),
)  # fmt: skip
MISSING = "errors: about 30 of 1,200 canary visitors followed for 15 min so far"
VERDICT = Verdict(Decision.INCONCLUSIVE, False, FINDINGS, (61, 1_204), missing=(MISSING,))
NUMBERS = Numbers(VERDICT, SEEN, 4, 2.1)
CHARGED = finding(
    "orders-charged-twice", Share(5, 43), Share(0, 812), unit="orders", log_e=6.2, breach=True
)
WORSE = replace(
    VERDICT,
    decision=Decision.ROLLBACK,
    visitors=(43, 812),
    findings=(*FINDINGS[:4], CHARGED, *FINDINGS[5:]),
    missing=(),
)
WHY = (
    "rolled back after 43 canary visitors: 5 of 43 orders charged twice on 1.5.0, 0 of 812 on 1.4.2"
)
ADVANCED = Audit(
    NOW - 360, "agent web-1", "advance", "checkout", "1.5.0 ramping 1%", "1.5.0 ramping 5%",
    "1% held for 10 min; on to 5%", 5,
)  # fmt: skip
ROLLED_BACK = Audit(
    NOW - 20, "agent web-1", "rollback", "checkout", "1.5.0 ramping 5%", "1.5.0 rolled_back 0%",
    WHY, 6, evidence_of(WORSE, ENTRY, 340.0, seen=SEEN),
)  # fmt: skip

VIEW = View("checkout", ENTRY, numbers=NUMBERS, last=ADVANCED)
ENDED = View(
    "checkout",
    replace(ENTRY, phase=Phase.ROLLED_BACK, weight=0, step=-1, since=NOW - 20, why=WHY),
    numbers=replace(NUMBERS, verdict=WORSE),
    last=ROLLED_BACK,
)


def scene(*views: View, **more: Any) -> Scene:
    """Of a namespace with four processes."""
    return Scene(**{"namespace": "shop", "at": NOW, "revision": 17, "reports": 4, **more},
                 views=views)  # fmt: skip
