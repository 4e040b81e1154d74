"""The API while its store is away, full or spoilt: each verb says so in one line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware.panel.action import VERBS
from canary_middleware.panel.api.routing import PREFIX
from canary_middleware.panel.api.table import OPERATIONS
from tests.panel import stages
from tests.panel.api_client import Answer, Api, Description
from tests.panel.rig import Panel
from tests.panel.stages import REQUIRED
from tests.support.redis import RedisServer

NAME = "checkout"
WHOLE_STATE = "canary:{shop}:state"


@pytest.fixture
def api(tmp_path: Path, redis_server: RedisServer) -> Iterator[Api]:
    """By who operates, on a server of the test's own."""
    with (
        Panel(tmp_path, redis_server.url, "shop") as panel,
        Api(panel, Description(panel)) as found,
    ):
        yield found


def every(api: Api) -> Iterator[tuple[str, Answer]]:
    """What each verb says now."""
    for verb in VERBS:
        yield verb, api.post(f"/api/rollouts/{NAME}/{verb}", dict(REQUIRED.get(verb, {})))


def test_a_store_that_is_gone_and_comes_back(api: Api, redis_server: RedisServer) -> None:
    store = api.panel.store()
    redis_server.stop()
    for one in (one for one in OPERATIONS if one.look is not None):
        answer = api.get(PREFIX + one.path.replace("{rollout}", NAME))
        assert (answer.status, answer.code) == (503, "store_unavailable")
    for verb, answer in every(api):
        assert (answer.status, answer.code) == (503, "store_unavailable")
        assert "\n" not in answer.json["detail"]
        nothing = (
            "refused; there was no connection, so nothing was killed; "
            "write the reason into <snapshot_path>/shop.kill on each host; running releases go to "
            "stable by themselves max_staleness (60 s by default) after the store was lost"
        )
        assert (nothing in answer.json["detail"]) == (verb == "kill")
    redis_server.start()
    stages.paused(store, NAME)
    assert api.post("/api/kill").status == 200
    store.close()
    assert "Traceback" not in api.panel.log()


def test_a_store_that_hangs(api: Api, redis_server: RedisServer) -> None:
    redis_server.pause()
    try:
        answer = api.post("/api/kill", {"why": "errors"})
    finally:
        redis_server.resume()
    assert (answer.status, answer.code) == (503, "store_unavailable")
    assert "whether it arrived is unknown" in answer.json["detail"]


def test_a_store_that_is_full(api: Api, redis_server: RedisServer) -> None:
    store = api.panel.store()
    stages.paused(store, NAME)
    with redis_server.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
    for verb, answer in every(api):
        if verb == "kill":
            assert (answer.status, answer.code) == (507, "not_persisted")
            assert "free memory" in answer.json["hint"]
        else:
            assert answer.status in {409, 503}, answer
    assert api.post("/api/kill").code == "not_persisted"
    assert api.get("/api/status").json["kills"] == []
    store.close()


def test_a_state_that_nobody_can_read(api: Api, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set(WHOLE_STATE, "none of ours")
    assert api.get("/api/status").code == "unreadable"
    for verb, answer in every(api):
        if verb == "kill":
            assert answer.status == 200
            everything = "the state was unreadable, so everything was killed instead"
            assert answer.json["warnings"] == [everything]
        else:
            assert (answer.status, answer.code) == (503, "unreadable")
            assert "a kill works" in answer.json["hint"]
