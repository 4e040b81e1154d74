"""Open streams end in order and in time, after a kill and after a planned move, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.support.servers import NotReadyError
from tests.system import streams, variants
from tests.system.beside import Check, Trial, Trials
from tests.system.rig import Rig


@pytest.fixture
def rig(tmp_path: Path, redis_server: RedisServer) -> Iterator[Rig]:
    with Rig(tmp_path, redis_server.url, "streams", identified=True) as made:
        yield made


def test_u10_200_open_streams(rig: Rig) -> None:
    """100 WebSockets and 100 event streams at uvicorn, 20 event streams at gunicorn."""
    print("\n" + "\n".join(streams.both(rig, ("uvicorn", "gunicorn"), 100)))


# --- it fails for variants that lack what it is about ---------------------------------------------


def spoiled(check: str, variant: str) -> Check:
    return lambda rig, _: getattr(streams, check)(rig, ("uvicorn",), 5, variant)


BROKEN = {
    "U10 for a process that forgets its streams": Trial(
        spoiled("kill", variants.FORGETS_STREAMS), "10 of 10 are not closed in time"
    ),
    "U10 for sockets that are closed as if all were said": Trial(
        spoiled("kill", variants.SAYS_GOODBYE), r"ended out of order: \{\('socket', '1000'\)\}"
    ),
    "a planned move for a process that takes it for a kill": Trial(
        spoiled("promotion", variants.HASTY), r"ended before its time, after 0\."
    ),
    "a planned move for a process that watches canaries only": Trial(
        spoiled("promotion", variants.WATCHES_CANARIES),
        "status tells what is still open",
        NotReadyError,
    ),
}


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Trials:
    return Trials(BROKEN, tmp_path_factory.mktemp("broken"), "streams", identified=True)


@pytest.mark.faults
@pytest.mark.parametrize("variant", BROKEN)
def test_each_fails(trials: Trials, variant: str) -> None:
    trials.noticed(variant)
