"""What passes through an upstream of ours is what would have arrived directly.

The reference is Debian's nginx with a plain ``proxy_pass`` (proxies.py); every case of ours that
fails is in ``known.py`` with its reason.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.upstream.transparency.known import KNOWN, RESCUED
from tests.upstream.transparency.proxies import PROXIES
from tests.upstream.transparency.suite import Report, measure
from tests.upstream.transparency.table import CASES

COMMON_SERVERS = ("uvicorn", "gunicorn")
PATHLESS = {"target-asterisk", "method-connect"}
"""Not of the rollout, whose paths begin with a slash: these are stable's anyway."""
OTHER_SERVERS = tuple(sorted(KNOWN.keys() - set(COMMON_SERVERS)))
SERVERS = (
    *COMMON_SERVERS,
    *(pytest.param(name, marks=pytest.mark.faults) for name in OTHER_SERVERS),
)


@cache
def measured(proxy: str) -> Report:
    """Once per run."""
    return measure(proxy, CASES)


@pytest.mark.parametrize("proxy", SERVERS)
def test_only_what_is_known_fails(proxy: str) -> None:
    report = measured(proxy)
    known = KNOWN[proxy]
    unknown = {name: report.verdicts[name].wrong for name in report.failing if name not in known}
    assert unknown == {}
    assert known.keys() - report.failing == set(), "hold by now: take them off the list"
    assert report.strangers == ()


@pytest.mark.parametrize("proxy", SERVERS)
def test_we_score_at_least_as_high_as_nginx(proxy: str) -> None:
    reference, ours = measured("nginx"), measured(proxy)
    print(f"{proxy} {ours.score}, nginx {reference.score} of {len(CASES)}")
    assert ours.score >= reference.score


@pytest.mark.faults
@pytest.mark.parametrize("server", COMMON_SERVERS)
def test_a_gateway_changes_nothing_of_what_is_outside_its_rollout(server: str) -> None:
    assert measured(f"{server}-gateway").failing == KNOWN[server].keys()


@pytest.mark.faults
@pytest.mark.parametrize("server", COMMON_SERVERS)
def test_a_visitor_on_canary_gets_what_its_upstream_says_or_what_stable_says_instead(
    server: str,
) -> None:
    report = measured(f"{server}-canary")
    finals = {name: one.got.finals for name, one in report.outcomes.items()}
    stable = {name for name in finals if [one.status for one in finals[name]] == [RESCUED]}
    rescued = stable - PATHLESS
    assert report.failing - KNOWN[server].keys() - PATHLESS == rescued - KNOWN[server].keys()
    table = {case.name: case for case in CASES}
    assert {table[name].methods[0] for name in rescued} == {b"GET", b"HEAD"}
    # Otherwise, whoever sends nonsense would decide which version fails.
    assert {table[name].group for name in rescued} == {"statuses", "faults"}


@pytest.mark.parametrize("proxy", SERVERS)
def test_every_rule_is_needed(proxy: str) -> None:
    needed = measured(proxy).reasons.keys()
    rules = {rule.why for rule in PROXIES[proxy].rules}
    assert rules - needed == set(), "allowed, and nothing needs it"
