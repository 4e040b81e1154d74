"""The doctor at fleets of Redis: it asks them as it asks one server."""

from __future__ import annotations

import pytest

from canary_middleware.doctor.diagnosis import diagnose
from canary_middleware.doctor.finding import Kind, Level
from canary_middleware.doctor.probing import examine
from canary_middleware.stores import open_store
from tests.support.fleet import Cluster, Sentinels


@pytest.mark.parametrize("fleet", ["cluster", "sentinels"])
def test_a_fleet_is_asked_as_one_server(
    fleet: str, namespace: str, request: pytest.FixtureRequest
) -> None:
    found: Cluster | Sentinels = request.getfixturevalue(fleet)
    store = open_store(found.url, namespace, connect_timeout=2.0, timeout=2.0)
    seen = examine(store, namespace)
    store.close()
    assert seen.error == ""
    assert seen.probed is not None
    assert (seen.probed.refused, seen.probed.unseen) == ((), ())
    assert seen.probed.facts["role"] == "master"
    assert seen.probed.ahead is not None
    kinds = {one.kind for one in diagnose(seen) if one.level > Level.NOTE}
    assert kinds <= {Kind.PROCESSES_NONE}
