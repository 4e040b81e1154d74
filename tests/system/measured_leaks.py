"""W10 "leaks": a canary that never gives back what it takes from a small pool of connections.

``leak`` takes from the pool that stable uses too, so that both starve and a comparison is blind.
What shows that the row can fail leaks in the same way: ``leak-unseen`` without a precaution, and
``leak-apart``, which takes from a pool of its own.
"""

from __future__ import annotations

from canary_middleware.core.state import Phase
from tests.system.measured import Site
from tests.system.people import People

LEAKS = ("leak", "leak-apart", "leak-unseen")
HEARS = 2.0
"""Seconds within which everybody has heard of a move, and what was under way has ended."""


def leaked(site: Site, people: People, started: float) -> list[str]:
    """What became of the leaks, in words; the row, and that others would not pass it.

    Args:
        site: where they were.
        people: who visited them.
        started: wall-clock seconds of their start.
    """
    assert unmet(site, people, "leak") == []
    assert unmet(site, people, "leak-unseen") == ["it was taken off"]
    assert site.phase("leak-unseen") is Phase.RAMPING, "a comparison sees nothing"
    assert unmet(site, people, "leak-apart") == ["it was taken off", "no blame", "both starved"]
    (line,) = site.history("leak", "precaution")
    told = people.drawn("leak")
    last = max(one.at for one in told if one.cohort == "canary") - line.at
    late = [one.status for one in told if one.at > line.at + HEARS]
    both = {name: failures(people, name) for name in LEAKS}
    return [
        f"W10 leak: {line.at - started:.1f} s after the start: {line.why}",
        f"W10 leak: last answer of the canary {last:.1f} s after that (limit {HEARS:.0f})",
        f"W10 leak: stable failed {late.count(500)} of {len(late)} times since: nothing comes back",
        f"W10 leaks: failed answers of canary and stable: {both}",
    ]


def unmet(site: Site, people: People, name: str) -> list[str]:
    """What is missing of a release that starved both versions and was taken off without blame."""
    lines = site.history(name, "precaution")
    off = [line.at for line in lines if "answers of both versions failed" in line.why]
    told = people.drawn(name)
    last = max(one.at for one in told if one.cohort == "canary")
    stays_off = (site.phase(name), site.entry(name).weight) == (Phase.PAUSED, 0)
    met = {
        "it was taken off": stays_off and len(off) == 1 and last <= off[0] + HEARS,
        "no blame": not site.history(name, "rollback"),
        "both starved": min(failures(people, name, *off)) > 0,
    }
    return [what for what, done in met.items() if not done]


def failures(people: People, name: str, before: float = float("inf")) -> tuple[int, int]:
    """Failed answers of the canary and of stable up to a moment, wall-clock seconds."""
    failed = [one.cohort for one in people.drawn(name) if one.status == 500 and one.at <= before]
    return failed.count("canary"), failed.count("stable")
