"""Four policies, with cookies and with shared affinity, in four processes of three servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.redis import RedisServer
from tests.system import variants
from tests.system.policies import (
    POLICIES,
    PROMISES,
    Journal,
    Way,
    ended,
    ends,
    moved,
    plans,
    released,
)
from tests.system.rig import Rig, start

SERVERS = ("uvicorn", "gunicorn", "uvicorn", "waitress")
KINDS = [*POLICIES, *(f"{policy}-shared" for policy in POLICIES if policy != "request")]
BRIEF = ["brief", "brief-shared"]
VISITORS = 60
PATIENT = 1.0
"""Seconds that a claim may take here, for a machine that is busy: what happens without one is a
matter of ``test_shared.py``."""


def served(directory: Path, server: RedisServer, apps: Sequence[str]) -> Rig:
    """Workers of all servers, not started yet."""
    rig = Rig(
        directory, server.url, "policies", identified=True, apps=tuple(apps), plans=plans(apps),
        budget=PATIENT,
    )  # fmt: skip
    for name in SERVERS:
        rig.worker(name)
    return rig


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Journal]]:
    """Everybody has gone all the way; short sessions were meanwhile."""
    directory = tmp_path_factory.mktemp("policies")
    with (
        RedisServer(directory) as server,
        served(directory, server, KINDS) as rig,
        served(tmp_path_factory.mktemp("brief"), server, BRIEF) as other,
        ThreadPoolExecutor(1) as beside,
    ):
        start([*rig.workers, *other.workers])
        brief = Way(other, BRIEF, 20)
        short = beside.submit(ends, brief)
        way = Way(rig, KINDS, VISITORS)
        way.go()
        way.release("uvicorn", "gunicorn")
        short.result()
        yield way.journals | brief.journals


@pytest.mark.parametrize("kind", KINDS)
def test_each_policy_keeps_its_promise(seen: Mapping[str, Journal], kind: str) -> None:
    PROMISES[kind.partition("-")[0]](seen[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_a_rollback_and_a_new_release_move_everybody(
    seen: Mapping[str, Journal], kind: str
) -> None:
    moved(seen[kind], sticky=not kind.startswith("request"))
    released(seen[kind])


@pytest.mark.parametrize("kind", BRIEF)
def test_a_session_that_is_over_follows(seen: Mapping[str, Journal], kind: str) -> None:
    ended(seen[kind])


@pytest.mark.parametrize(
    ("promised", "given", "failure"),
    [
        ("follow", "session", "the few are some of the many"),
        ("follow", "keep-shared", "the few are some of the many"),
        ("follow", "request", "nobody moves without a reason"),
        ("keep", "follow", "nobody who saw the canary is moved"),
        ("keep", "follow-shared", "nobody who saw the canary is moved"),
        ("session", "keep", "a session goes on as it began"),
        ("session", "keep-shared", "a session goes on as it began"),
        ("request", "follow", "each request is drawn anew"),
    ],
)
def test_each_check_fails_for_another_policy(
    seen: Mapping[str, Journal], promised: str, given: str, failure: str
) -> None:
    with pytest.raises(AssertionError, match=failure):
        PROMISES[promised](seen[given])


def test_the_check_fails_for_sessions_that_do_not_end(seen: Mapping[str, Journal]) -> None:
    endless = Journal("endless", dict(seen["brief"].steps))
    endless.steps["after the session"] = endless.steps["visit 0"]
    with pytest.raises(AssertionError, match="after its end it follows"):
        ended(endless)


def test_the_check_fails_for_a_follower_to_whom_no_event_voids_a_pin(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    apps = ["keep", "keep-shared", "session", "session-shared"]
    with Rig(
        tmp_path, redis_server.url, "timeless", identified=True, apps=tuple(apps),
        plans=plans(apps), variant=variants.TIMELESS, budget=PATIENT,
    ) as rig:  # fmt: skip
        rig.serve("uvicorn")
        way = Way(rig, apps, 30)
        way.go()
        for app in apps:
            with pytest.raises(AssertionError, match="what was before decides no more"):
                moved(way.journals[app], sticky=True)
