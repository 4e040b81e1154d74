"""What passes through an upstream of ours is what would have arrived directly.

The reference is Debian's nginx with a plain ``proxy_pass`` (proxies.py); every case of ours that
fails is in ``known.py`` with its reason.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.upstream.transparency.known import KNOWN
from tests.upstream.transparency.proxies import PROXIES
from tests.upstream.transparency.suite import Report, measure
from tests.upstream.transparency.table import CASES

COMMON_SERVERS = ("uvicorn", "gunicorn")
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


@pytest.mark.parametrize("proxy", SERVERS)
def test_every_rule_is_needed(proxy: str) -> None:
    needed = measured(proxy).reasons.keys()
    rules = {rule.why for rule in PROXIES[proxy].rules}
    assert rules - needed == set(), "allowed, and nothing needs it"
