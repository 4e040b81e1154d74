"""What was known when something was done to a release: as JSON for history, and in plain words.

The JSON is self-contained: it can be told when the release is long forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from canary_middleware.core.drill import Drill
from canary_middleware.core.guards import QUANTILES, Action, Guard, Metric
from canary_middleware.core.model import Cohort, Policy
from canary_middleware.core.reading import Place
from canary_middleware.core.state import Entry
from canary_middleware.core.telling import LONGEST, compared, lasting, noticeable, promised
from canary_middleware.core.totals import MAX_COUNT, Seen
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.errors import StoreCorruptError

MOST: Final = 12
"""Guards in one evidence; those that say most go first."""
_TEXT: Final = 160
"""Characters of one text."""
_PROOFS: Final = 400
"""Characters of all that is proven."""
_DID: Final = {
    Decision.ROLLBACK: "rolled back",
    Decision.PROMOTE: "promoted",
    Decision.INCONCLUSIVE: "holding",
}
_FLAGS: Final = ("breach", "suspect", "proven")
_NUMBERS: Final = ("log_e", "threshold", "proof", "needed", "detectable")


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict with what its words need.

    Attributes:
        release: label of the canary.
        stable: label of the other side.
        verdict: see there.
        guards: the declarations of its findings, by name.
        unit: what was counted: ``visitors``, or ``requests`` where each is drawn anew.
        weight: as text.
        step: index of it; -1 for one that was set by hand.
        in_step: seconds since the last change of phase or weight.
        age: seconds since the start.
        requests: of canary and stable, evidence or not; ``None``: not known.
        drill: what was injected meanwhile; ``""`` for nothing.
        omitted: findings that were left out.
        earlier: what was proven before everybody got it; ``""`` for nothing, and before that.
    """

    release: str
    stable: str
    verdict: Verdict
    guards: Mapping[str, Guard]
    unit: str = "visitors"
    weight: str = "0%"
    step: int = -1
    in_step: float = 0.0
    age: float = 0.0
    requests: tuple[int, int] | None = None
    drill: str = ""
    omitted: int = 0
    earlier: str = ""

    @property
    def fit(self) -> bool:
        """Whether the evidence speaks for a promotion, or did when everybody got it."""
        decision = self.verdict.decision
        return decision is Decision.PROMOTE or (
            bool(self.earlier) and decision is not Decision.ROLLBACK
        )

    @property
    def proofs(self) -> str:
        """What is proven by now, in words."""
        proven = [self.guards[one.guard] for one in self.verdict.findings if one.proven]
        words = ", ".join(map(promised, proven)) or "no guard has a margin"
        return words if len(words) <= _PROOFS else f"{words[: _PROOFS - 3]}..."

    def compared(self, found: Finding) -> str:
        """One of its guards in words."""
        labels = self.release, self.stable
        return compared(found, self.guards[found.guard], labels, self.verdict.visitors)

    def sentence(self, did: str = "") -> str:
        """What was decided and why, in one line.

        Args:
            did: what was done, such as ``"paused"``; by default what the verdict says.
        """
        did = did or _DID[self.verdict.decision]
        drill = f" (drill: {self.drill})" if self.drill else ""
        if did == _DID[Decision.PROMOTE]:
            return f"{did}{self._promoted()}{drill}"
        return f"{did}{self._after()}: {self._reason()}{drill}"

    def standing(self) -> str:
        """What it says while nothing has been done yet."""
        decision = self.verdict.decision
        if decision is Decision.ROLLBACK:
            return f"worse: {self._reason()}"
        if self.fit:
            return f"fit for promotion{self._promoted()}"
        missing = "; ".join(self._missing)
        found = f"missing for a promotion: {missing}" if missing else "no regression found so far"
        return f"{found}{self._detectable()}"

    def _detectable(self) -> str:
        """The smallest effect that would have been seen, of the first guard where that is known."""
        for one in self.verdict.findings:
            if one.detectable is not None and one.action is Action.BREACH and not one.proven:
                return f"; {noticeable(one, self.guards[one.guard])} would have been seen"
        return ""

    def _after(self) -> str:
        visitors = self.verdict.visitors[0]
        if visitors and self.unit == "visitors":
            # First events are told at once, visitors when their answers are old enough.
            failed = [one.canary.events for one in self.verdict.breaches if one.unit == self.unit]
            visitors = max([visitors, *failed])
        if visitors or not self.requests:
            return f" after {_some(visitors, f'canary {self.unit}')}"
        return f" after {_some(self.requests[0], 'canary requests')}"

    def _reason(self) -> str:
        breaches = self.verdict.breaches[:3]
        if breaches:
            return "; also ".join(self.compared(one) for one in breaches)
        return "; ".join(self._missing) or "no regression found so far"

    def _promoted(self) -> str:
        if self.earlier:
            return f": proven up to the margins before everybody got it: {self.earlier}"
        if self.verdict.proven:
            return f"{self._after()}: proven up to the margins: {self.proofs}"
        seen = _some(self.verdict.visitors[0], f"canary {self.unit}")
        over = f" over {lasting(self.age)}" if self.age else ""
        because = f", because {'; '.join(self._missing)}" if self._missing else ""
        return f": no regression found in {seen}{over}: not proven{because}"

    @property
    def _missing(self) -> tuple[str, ...]:
        each = (f"{one.guard}: {one.missing}" for one in self.verdict.findings if one.missing)
        return self.verdict.missing or tuple(each)


def sentence(verdict: Verdict, entry: Entry, *, did: str = "", age: float = 0.0) -> str:
    """A verdict in one line of plain words; for a verdict that holds, what is missing.

    Args:
        verdict: of the judge.
        entry: the release that it is about.
        did: what was done, such as ``"paused"``; by default what the verdict says.
        age: seconds since the start, for promotions that are not proven.
    """
    return replace(told(verdict, entry, 0.0), age=age).sentence(did)


def told(
    verdict: Verdict,
    entry: Entry,
    seconds_in_step: float,
    *,
    drill: Drill | None = None,
    seen: Mapping[Cohort, Seen] | None = None,
) -> Told:
    """A verdict with what its words need; the arguments are those of :func:`evidence_of`."""
    declared = {guard.name: guard for guard in entry.guards}
    findings = [one for one in verdict.findings if one.guard in declared]
    kept = sorted(findings, key=lambda one: (not one.breach, not one.suspect))[:MOST]
    return Told(
        release=entry.release,
        stable=entry.stable,
        verdict=replace(verdict, findings=tuple(one for one in findings if one in kept)),
        guards={one.guard: declared[one.guard] for one in kept},
        unit="requests" if entry.plan.policy is Policy.REQUEST else "visitors",
        weight=format_weight(entry.weight),
        step=entry.step,
        in_step=seconds_in_step,
        age=max(0.0, entry.since + seconds_in_step - entry.begun) if entry.begun else 0.0,
        requests=None if seen is None else (_requests(seen, Cohort.CANARY),
                                            _requests(seen, Cohort.STABLE)),
        drill="" if drill is None else f"{drill.fault} in {format_weight(drill.share)}",
        omitted=len(verdict.findings) - len(kept),
        earlier=entry.proven if entry.weight == FULL else "",
    )  # fmt: skip


def evidence_of(
    verdict: Verdict,
    entry: Entry,
    seconds_in_step: float,
    *,
    drill: Drill | None = None,
    seen: Mapping[Cohort, Seen] | None = None,
) -> dict[str, Any]:
    """The evidence of a transition as JSON has it, a few kilobytes at most.

    Args:
        verdict: of the judge, at that moment.
        entry: the release before the transition.
        seconds_in_step: since its last change of phase or weight.
        drill: the one that was on at that moment.
        seen: all requests, where they are known.
    """
    it = told(verdict, entry, seconds_in_step, drill=drill, seen=seen)
    return {
        "decision": verdict.decision.value,
        "proven": verdict.proven or (it.fit and bool(it.earlier)),
        "earlier": it.earlier,
        "release": it.release,
        "stable": it.stable,
        "unit": it.unit,
        "visitors": list(verdict.visitors),
        "requests": None if it.requests is None else list(it.requests),
        "weight": it.weight,
        "step": it.step,
        "seconds_in_step": round(it.in_step, 3),
        "seconds": round(it.age, 3),
        "drill": it.drill,
        "mismatch": _number(verdict.mismatch),
        "missing": [text[:_TEXT] for text in verdict.missing[:MOST]],
        "guards": [_finding(one, it.guards[one.guard]) for one in it.verdict.findings],
        "omitted": it.omitted,
    }


def _requests(seen: Mapping[Cohort, Seen], cohort: Cohort) -> int:
    return seen[cohort].n if cohort in seen else 0


def _some(count: int, unit: str) -> str:
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"


def _finding(found: Finding, guard: Guard) -> dict[str, Any]:
    return {
        "guard": found.guard,
        "kind": guard.metric.value,
        "of": guard.of,
        "quantile": guard.quantile,
        "above": guard.above,
        "margin": guard.margin,
        "action": found.action.value,
        "metric": found.metric[:_TEXT],
        "unit": found.unit[:_TEXT],
        "canary": _share(found.canary),
        "stable": _share(found.stable),
        **{name: _number(getattr(found, name)) for name in _NUMBERS},
        **{name: getattr(found, name) for name in _FLAGS},
        "missing": found.missing[:_TEXT],
    }


def _share(share: Share) -> dict[str, Any]:
    plain: dict[str, Any] = {"events": share.events, "of": share.of}
    if share.quantiles:
        plain["quantiles"] = [
            None if q is None else _number(min(q, LONGEST)) for q in share.quantiles
        ]
    if share.mean is not None:
        plain["mean"] = _number(share.mean)
    return plain


def _number(value: float | None) -> float | None:
    """Six digits; JSON has no infinity."""
    if value is None or math.isnan(value):
        return None
    return float(f"{min(max(value, -1e9), 1e9):.6g}")


# --- and back ----------------------------------------------------------------------------------


def read(evidence: Mapping[str, Any]) -> Told:
    """What :func:`evidence_of` wrote, to be shown; members that it does not know do no harm.

    Raises:
        StoreCorruptError: it is something else.
    """
    place = Place("evidence", dict(evidence))
    at = _Fields(place)
    found = [_found(row) for row in at["guards"].elements()]
    requests = at["requests"]
    return Told(
        release=at["release"].text(),
        stable=at["stable"].text(),
        verdict=Verdict(
            decision=Decision(at["decision"].one_of(*Decision)),
            proven=_flag(at["proven"]),
            findings=tuple(finding for finding, _ in found),
            visitors=_pair(at["visitors"]),
            mismatch=_float(at["mismatch"]) or 0.0,
            missing=at["missing"].texts(),
        ),
        guards={guard.name: guard for _, guard in found},
        unit=at["unit"].text(),
        weight=at["weight"].text(),
        step=at["step"].integer(-1, MAX_COUNT),
        in_step=at["seconds_in_step"].seconds(),
        age=at["seconds"].seconds(),
        requests=None if requests.value is None else _pair(requests),
        drill=at["drill"].text(empty=True),
        omitted=at["omitted"].integer(0, MAX_COUNT),
        earlier=at["earlier"].text(empty=True),
    )


class _Fields(dict[str, Place]):
    """The members of an object; a missing one is refused when it is asked for."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.items())
        self._place = place

    def __missing__(self, name: str) -> Place:
        self._place.refuse(f"has no {name}")


def _found(place: Place) -> tuple[Finding, Guard]:
    at = _Fields(place)
    name, quantile, margin = at["guard"].text(), at["quantile"], at["margin"]
    guard = Guard(
        name,
        Metric(at["kind"].one_of(*Metric)),
        at["of"].text(empty=True),
        margin=None if margin.value is None else margin.text(),
        quantile=None if quantile.value is None else quantile.text(),
        above=_float(at["above"]) or 0.0,
    )
    finding = Finding(
        guard=name,
        action=Action(at["action"].one_of(*Action)),
        metric=at["metric"].text(empty=True),
        unit=at["unit"].text(empty=True),
        canary=_side(at["canary"]),
        stable=_side(at["stable"]),
        missing=at["missing"].text(empty=True),
        log_e=_float(at["log_e"]) or 0.0,
        threshold=_float(at["threshold"]) or 0.0,
        breach=_flag(at["breach"]),
        suspect=_flag(at["suspect"]),
        proof=_float(at["proof"]),
        needed=_float(at["needed"]) or 0.0,
        proven=_flag(at["proven"]),
        detectable=_float(at["detectable"]),
    )
    return finding, guard


def _side(place: Place) -> Share:
    at = _Fields(place)
    quantiles = at["quantiles"].elements() if "quantiles" in at else ()
    return Share(
        events=at["events"].integer(0, MAX_COUNT),
        of=at["of"].integer(0, MAX_COUNT),
        quantiles=tuple(_float(one) for one in quantiles)[: len(QUANTILES)],
        mean=_float(at["mean"]) if "mean" in at else None,
    )


def _pair(place: Place) -> tuple[int, int]:
    both = [one.integer(0, MAX_COUNT) for one in place.elements()]
    if len(both) != 2:
        place.refuse("is not two numbers")
    return both[0], both[1]


def _float(place: Place) -> float | None:
    value = place.value
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value):
        place.refuse("is not a number")
    return float(value)


def _flag(place: Place) -> bool:
    if type(place.value) is not bool:
        raise StoreCorruptError(f"{place.path} is neither true nor false")
    return place.value
