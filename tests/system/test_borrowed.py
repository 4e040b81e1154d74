"""A pin is worth something to one visitor, in one rollout, release, epoch and namespace."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from canary_middleware.core.weight import parse_weight
from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.borrowed import (
    POLICIES,
    Loan,
    borrowed,
    nothing_forged,
    nothing_of_another,
    nothing_old,
    other_namespaces,
    pins,
    resigned,
)
from tests.system.rig import Rig, seen
from tests.system.site import KEY

PLANS = {policy: {"policy": policy} for policy in POLICIES}
MUTATIONS = 400


@pytest.fixture
def rig(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, namespace: str
) -> Iterator[Rig]:
    with Rig(
        tmp_path_factory.mktemp("borrowed"), redis_server.url, namespace, identified=True,
        apps=POLICIES, plans=PLANS,
    ) as made:  # fmt: skip
        yield made


def wake(rig: Rig) -> None:
    for app in POLICIES:
        for worker in rig.workers:
            seen(worker, f"/{app}/")


def test_pins_gain_nothing_in_other_hands(rig: Rig) -> None:
    rig.serve("uvicorn", "gunicorn")
    wake(rig)
    for app in POLICIES:
        print(f"\n{borrowed(rig, app, MUTATIONS)}")
    print(other_namespaces(rig))


def test_the_checks_fail_for_who_has_the_key_and_for_broken_middlewares(rig: Rig) -> None:
    (timeless,) = rig.serve("uvicorn", variant=variants.TIMELESS)
    (cookie_first,) = rig.serve("uvicorn", variant=variants.COOKIE_FIRST)
    wake(rig)
    loan = Loan(rig, "keep")
    loan.heard(rig.started(parse_weight("50%"), "keep").revision)
    canary, user = loan.pinned("user ")
    anonymous, _ = loan.pinned()
    own = loan.stable()
    loan.move("0%")
    forged = resigned(KEY, rig.setup.namespace_of("keep"), own, pins(anonymous)[0])
    with pytest.raises(AssertionError, match="no forged pin is honoured"):
        nothing_forged(loan, [timeless], [forged])
    with pytest.raises(AssertionError, match="a pin of another user is no pin of mine"):
        nothing_of_another(loan, [cookie_first], anonymous, "")
    loan.restart("0%")
    with pytest.raises(AssertionError, match="a pin of another epoch is none"):
        nothing_old(loan, [timeless], [anonymous, canary])
    assert user
