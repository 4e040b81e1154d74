"""Shared affinity while its store is away, for some seconds; ``tests/faults`` takes longer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware.agent.claiming import TOUCH_EVERY
from tests.support.clients import Pool
from tests.support.fault_proxy import FaultProxy
from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.crowd import versions
from tests.system.known import SHARED, Known, acquainted, crowd, outage
from tests.system.outage import Fault, flushed, killed, slow, stopped, through
from tests.system.rig import Rig

pytestmark = pytest.mark.alone

SERVERS = ("uvicorn", "gunicorn")
SECONDS = 3.1
USERS = 200


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("known")) as made:
        yield made


@pytest.fixture(scope="module")
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as made:
        yield made


@pytest.fixture(scope="module")
def known(
    tmp_path_factory: pytest.TempPathFactory, server: RedisServer, proxy: FaultProxy
) -> Iterator[Known]:
    directory = tmp_path_factory.mktemp("users")
    with Rig(directory, server.url, "known", identified=True, plans=SHARED) as rig:
        workers = rig.serve(*SERVERS, store=proxy.url())
        yield acquainted(rig, workers, USERS)


@pytest.mark.parametrize("fault", [stopped, killed])
def test_who_is_known_stays_and_nobody_waits(
    known: Known, server: RedisServer, fault: Fault
) -> None:
    outage(known, server, fault, SECONDS).check(getattr(fault, "__name__", ""))


def test_r4_a_slow_network(known: Known, server: RedisServer, proxy: FaultProxy) -> None:
    outage(known, server, through(proxy, slow), SECONDS).check("slow")


def test_r10_a_store_that_lost_its_claims_gets_them_from_whoever_remembers(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    """Who prolongs a claim hears that it is lost, and brings it along with the next question.

    Until then FLUSHALL is held to the limits of any other outage, so that it is no row above.
    """
    with Rig(tmp_path, redis_server.url, "known", identified=True, plans=SHARED) as rig:
        users = acquainted(rig, rig.serve(*SERVERS), 60)
        outage(users, redis_server, flushed, TOUCH_EVERY).check("brought back")
        (newcomer,) = rig.serve("uvicorn", budget=1.0)
        found = asyncio.run(versions(newcomer.port, crowd(Pool(0, 0), 60)))
        assert found == users.versions, "a process that never knew them knows them now"


@pytest.mark.faults
def test_the_checks_fail_for_whoever_forgets_or_waits(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> None:
    directory = tmp_path_factory.mktemp("spoiled")
    with Rig(directory, redis_server.url, "known", identified=True, plans=SHARED) as rig:
        forgets, fuseless, patient = (
            *rig.serve("uvicorn", variant=variants.FORGETS_CLAIMS),
            *rig.serve("uvicorn", variant=variants.FUSELESS),
            *rig.serve("gunicorn", budget=0.3),
        )
        found = outage(acquainted(rig, rig.workers, 60), redis_server, stopped, SECONDS)
        with pytest.raises(AssertionError, match="who is known stays"):
            found.check("forgets", forgets)
        with pytest.raises(AssertionError, match="no request waits once the circuit is open"):
            found.check("fuseless", fuseless)
        with pytest.raises(AssertionError, match="no request waits longer than the budget"):
            found.check("patient", patient)
