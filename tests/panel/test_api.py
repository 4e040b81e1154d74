"""The API in a real server: every route, each answer held against the description."""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.panel import api as package
from canary_middleware.panel.action import FIELDS, VERBS, read
from canary_middleware.panel.api.describing import EXAMPLES, describe
from canary_middleware.panel.api.routing import PREFIX
from canary_middleware.panel.api.table import DESCRIPTION, OPERATIONS, Operation
from canary_middleware.panel.site import Site
from canary_middleware.stores import MemoryStore, StateStore
from tests.panel import stages
from tests.panel.api_client import Api, Description
from tests.panel.rig import ALICE, BOB, Panel
from tests.panel.stages import FITTING, REQUIRED
from tests.support.clients import CROSS_SITE_FETCH, CROSS_SITE_NAVIGATION, FETCH
from tests.support.redis import SharedRedis
from tests.support.servers import LOCALHOST

NAME = "checkout"
LOOKS = [one for one in OPERATIONS if one.look is not None]


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory, shared_redis: SharedRedis) -> Iterator[Panel]:
    """One for all tests here."""
    directory = tmp_path_factory.mktemp("api")
    with Panel(directory, shared_redis.url, f"api-{uuid.uuid4().hex[:8]}") as running:
        yield running


@pytest.fixture(scope="module")
def description(panel: Panel) -> Description:
    return Description(panel)


@pytest.fixture
def store(panel: Panel, shared_redis: SharedRedis) -> Iterator[StateStore]:
    """That of the panel, empty for each test."""
    found = panel.store()
    yield found
    found.close()
    with shared_redis.client() as client:
        for key in client.scan_iter(f"canary:{{{panel.namespace}}}:*"):
            client.delete(key)


@pytest.fixture
def api(panel: Panel, description: Description) -> Iterator[Api]:
    """By who operates."""
    with Api(panel, description) as found:
        yield found


@pytest.fixture
def viewer(panel: Panel, description: Description) -> Iterator[Api]:
    with Api(panel, description, BOB) as found:
        yield found


@pytest.fixture
def stranger(panel: Panel, description: Description) -> Iterator[Api]:
    with Api(panel, description, "") as found:
        yield found


def revision(store: StateStore) -> int:
    document = store.load().document
    return document.revision if document else 0


# --- the description ----------------------------------------------------------------------------


def test_the_description_is_valid_and_that_of_the_routes(
    panel: Panel, description: Description
) -> None:
    described = json.loads(json.dumps(describe(panel.namespace)))
    validate(described)
    assert description.document == described
    routes = [one for one in package.routes(Site(MemoryStore(), "shop")) if isinstance(one, Route)]
    paths = {one.path.removeprefix(PREFIX) for one in routes}
    assert paths == {*described["paths"], DESCRIPTION, "/{rest:path}"}
    methods = {(path, method) for path, ways in described["paths"].items() for method in ways}
    assert methods == {(one.path, one.method.lower()) for one in OPERATIONS}
    names = [one.name for one in OPERATIONS]
    assert len(set(names)) == len(names)


def test_the_description_names_the_ways_in_that_there_are(
    panel: Panel, description: Description
) -> None:
    schemes = description.document["components"]["securitySchemes"]
    with panel.browser(ALICE) as browser:
        assert schemes["session"]["name"] in browser.cookies.values
        headers = {schemes["csrf"]["name"]: browser.csrf(), "Content-Type": "application/json"}
        answer = browser.request("POST", "/api/kill", b"[]", fetch=FETCH, headers=headers)
    # It got as far as the body.
    assert description.check("POST", "/api/kill", answer)["code"] == "bad_json"


def test_every_field_is_described_once_and_every_example_can_be_read(
    description: Description,
) -> None:
    schemas = description.document["components"]["schemas"]
    for verb, sort in VERBS.items():
        body = f"{verb.capitalize()}Body"
        assert list(schemas[body]["properties"]) == list(sort.fields)
        if example := EXAMPLES.get(verb):
            description.validate(body, example)
            assert read(verb, "checkout", example).verb == verb
    assert set(FIELDS) == {name for sort in VERBS.values() for name in sort.fields}


# --- looking ------------------------------------------------------------------------------------


@pytest.mark.parametrize("look", LOOKS, ids=lambda one: one.name)
def test_everybody_may_look(look: Operation, viewer: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    verbs.kill(store, NAME, by="test")
    path = PREFIX + look.path.replace("{rollout}", NAME)
    answer = viewer.get(path)
    assert answer.status == 200
    assert NAME in answer.response.text
    head = viewer.visitor.request("HEAD", path, headers=viewer.bearer)
    assert (head.status, head.body) == (200, b"")


def test_says_what_the_cli_says(
    api: Api, panel: Panel, store: StateStore, capsys: pytest.CaptureFixture[str]
) -> None:
    stages.ramping(store, NAME)
    verbs.kill(store, NAME, by="test", why="errors")
    where = ["--json", "--store", panel.store_url, "--namespace", panel.namespace]

    def printed(*arguments: str) -> Any:
        assert main([*arguments, *where]) == 0
        return json.loads(capsys.readouterr().out)

    assert api.get("/api/history").json == printed("history")
    for path, verb in (("/api/status", ["status"]), ("/api/rollouts", ["watch", "--once"])):
        assert names(api.get(path).json) == names(printed(*verb))


def names(value: object) -> object:
    """The same with types in place of values, as some move with the clock."""
    if isinstance(value, dict):
        return {name: names(member) for name, member in value.items()}
    return [names(one) for one in value] if isinstance(value, list) else type(value)


def test_an_empty_namespace_has_answers(api: Api, store: StateStore) -> None:
    assert api.get("/api/rollouts/nobody").code == "unknown_rollout"
    assert api.get("/api/rollouts/nobody/history").status == 404
    assert api.get("/api/processes").json["namespace"] == api.panel.namespace


def test_tells_of_a_rollout_that_was_never_started(api: Api, store: StateStore) -> None:
    stages.declared(store, NAME)
    found = api.get(f"/api/rollouts/{NAME}").json
    assert (found["rollout"], found["current"], found["releases"]) == (NAME, None, [])
    waiting = api.get("/api/status").json["waiting"]
    assert {"rollout": NAME, "release": "1.5.0", "run": f"canary start {NAME}"} in waiting


def test_history_goes_back_page_by_page(api: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    for weight in range(1, 8):
        verbs.weight(store, NAME, weight * 1_000, by="test")
    found: list[str] = []
    before = ""
    while lines := api.get(f"/api/rollouts/{NAME}/history?limit=3{before}").json:
        found += [line["new"] for line in lines]
        before = f"&before={lines[-1]['revision']}"
    assert found == [f"1.5.0 paused {weight}%" for weight in (7, 6, 5, 4, 3, 2, 1, 5)]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "limit=1e1", "limit=201", "limit=²", "limit=1&limit=2", "x=1",
              "before=-1", "before=99999999999999999999"],
)  # fmt: skip
def test_parameters_are_strict(api: Api, query: str) -> None:
    answer = api.get(f"/api/history?{query}".replace("²", "%C2%B2"))
    assert answer.code == "bad_input"
    assert answer.json["problems"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize("look", LOOKS, ids=lambda one: one.name)
def test_no_look_takes_what_it_does_not_know(look: Operation, api: Api) -> None:
    path = PREFIX + look.path.replace("{rollout}", "x")
    assert api.get(f"{path}?y=1").status == 422


def test_tells_what_was_measured_over_time(api: Api, store: StateStore) -> None:
    now = time.time()
    stages.drawn(store, NAME, now)
    since = int(now) - 200
    found = api.get(f"/api/rollouts/{NAME}/series?since={since}&until={int(now) + 20}").json
    assert found["step"] == 10
    canary, stable = found["versions"]
    assert (canary["cohort"], stable["version"]) == ("canary", "1.4.2")
    assert {one for one in canary["rate"] if one is not None} == {1.0}
    assert {one for one in canary["errors"] if one is not None} == {0.1}
    assert None in canary["p99"]  # before the first point
    assert found["weights"][-1]["weight"] == "5%"
    whole = api.get(f"/api/rollouts/{NAME}/series?points=3").json
    assert len(whole["times"]) <= 4
    assert len(whole["versions"]) == 2


def test_a_chart_ends_after_its_beginning(api: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    assert api.get(f"/api/rollouts/{NAME}/series?since=20&until=20").code == "bad_input"
    assert api.get(f"/api/rollouts/{NAME}/series?until=0").code == "bad_input"
    assert api.get("/api/rollouts/nobody/series").code == "unknown_rollout"
    assert api.get(f"/api/rollouts/{NAME}/series?until=100000000000").json["versions"] == []


# --- verbs --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_done(verb: str, api: Api, store: StateStore) -> None:
    stage, values, phase = FITTING[verb]
    stage(store, NAME)
    before = revision(store)
    body = {"why": "as agreed", **values}
    answer = api.post(f"/api/rollouts/{NAME}/{verb}", body)
    assert answer.status == 200
    assert answer.json["revision"] == before + 1 == revision(store)
    assert api.get(f"/api/rollouts/{NAME}").json["current"]["phase"] == phase
    (line,) = api.get(f"/api/rollouts/{NAME}/history?limit=1").json
    assert (line["action"], line["by"]) == (verb, "alice (panel, from 127.0.0.1)")
    assert line["why"] == body["why"]


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_is_done_for_who_only_views(verb: str, viewer: Api, store: StateStore) -> None:
    stage, values, _ = FITTING[verb]
    stage(store, NAME)
    before = store.load(), store.history(None, 1)
    answer = viewer.post(f"/api/rollouts/{NAME}/{verb}", values)
    assert (answer.status, answer.code) == (403, "not_allowed")
    if verb in {"kill", "revive"}:
        assert viewer.post(f"/api/{verb}", {}).status == 403
    assert (store.load(), store.history(None, 1)) == before


@pytest.mark.parametrize("verb", VERBS)
def test_what_does_not_fit_is_refused_in_words(verb: str, api: Api, store: StateStore) -> None:
    stages.rolled_back(store, NAME)
    answer = api.post(f"/api/rollouts/{NAME}/{verb}", dict(REQUIRED.get(verb, {})))
    if verb == "kill":
        assert answer.status == 200
        return
    assert (answer.status, answer.code) == (409, "refused")
    assert answer.json["detail"].startswith(f"{NAME}: ")
    assert "\n" not in answer.json["detail"]


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_rollout_is_not_found(verb: str, api: Api, store: StateStore) -> None:
    answer = api.post(f"/api/rollouts/{NAME}/{verb}", dict(REQUIRED.get(verb, {})))
    if verb == "kill":
        assert "nobody knows a rollout" in answer.json["warnings"][0]
        return
    assert (answer.status, answer.code) == (404, "unknown_rollout")


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_does_not_know_is_named(verb: str, api: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    before = store.load()
    answer = api.post(f"/api/rollouts/{NAME}/{verb}", {**REQUIRED.get(verb, {}), "wy": "typo"})
    assert (answer.status, answer.code) == (422, "bad_input")
    (problem,) = answer.json["problems"]
    assert (problem["field"], problem["hint"]) == ("wy", "why?")
    assert store.load() == before


def test_everything_is_killed_and_revived(api: Api, store: StateStore) -> None:
    stages.promoted(store, NAME)
    struck = api.post("/api/kill")
    assert struck.json["scope"] == "*"
    assert NAME in {one["rollout"] for one in struck.json["hit"]}
    assert api.get("/api/status").json["kills"][0]["scope"] == "*"
    assert api.post(f"/api/rollouts/{NAME}/weight", {"weight": "5%"}).code == "refused"
    assert api.post("/api/revive", {"why": "fixed"}).json["still_killed"] == []
    assert api.post("/api/revive").code == "refused"


def test_a_doubt_has_to_be_said_away(api: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    answer = api.post(f"/api/rollouts/{NAME}/promote", {})
    assert (answer.status, answer.code) == (409, "unconfirmed")
    assert "anyway" in answer.json["hint"]
    assert api.post(f"/api/rollouts/{NAME}/promote", {"anyway": True}).status == 200


def test_of_two_operators_who_saw_the_same_one_wins(
    api: Api, panel: Panel, description: Description, store: StateStore
) -> None:
    stages.ramping(store, NAME)
    seen = api.get(f"/api/rollouts/{NAME}").json["revision"]

    def click(weight: int) -> tuple[int, str]:
        body = {"weight": f"{weight}%", "if_revision": seen}
        with Api(panel, description) as one:
            answer = one.post(f"/api/rollouts/{NAME}/weight", body)
        return answer.status, answer.json.get("detail", "")

    with ThreadPoolExecutor(4) as pool:
        found = sorted(pool.map(click, (11, 12, 13, 14)))
    assert [status for status, _ in found] == [200, 409, 409, 409]
    assert all(
        "alice (panel, from 127.0.0.1) did `weight` meanwhile" in why for _, why in found[1:]
    )


def test_two_operators_who_look_at_nothing_are_both_served(
    panel: Panel, description: Description, store: StateStore
) -> None:
    stages.ramping(store, NAME)

    def click(weight: int) -> int:
        with Api(panel, description) as one:
            return one.post(f"/api/rollouts/{NAME}/weight", {"weight": f"{weight}%"}).status

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(click, (11, 12, 13, 14))) == {200}
    assert len(store.history(NAME, 9)) == 5


# --- strangers and forgers ----------------------------------------------------------------------


def test_nobody_gets_in_without_a_token(stranger: Api, store: StateStore) -> None:
    before = store.load()
    for one in (*OPERATIONS, Operation("GET", DESCRIPTION, "", "", "")):
        path = PREFIX + one.path.replace("{rollout}", "x")
        answer = stranger.exchange(one.method, path)
        assert (answer.status, answer.code) == (401, "not_signed_in"), path
        wrong = {"Authorization": f"Bearer cnp_{'x' * 43}"}
        assert stranger.exchange(one.method, path, headers=wrong).status in {401, 429}, path
    assert store.load() == before


@pytest.mark.parametrize("verb", ["kill", "revive"])
def test_a_session_of_a_browser_is_no_leave_for_other_sites(
    verb: str, panel: Panel, description: Description, store: StateStore
) -> None:
    stages.killed(store, NAME)
    before = store.load()
    path = f"/api/rollouts/{NAME}/{verb}"
    kinds = ("text/plain", "application/x-www-form-urlencoded", "application/json")
    with panel.browser(ALICE) as browser:
        for fetch in (CROSS_SITE_FETCH, CROSS_SITE_NAVIGATION, FETCH):
            for kind in kinds:
                headers = {"Content-Type": kind, "Origin": "https://evil.example"}
                answer = browser.request("POST", path, b"{}", fetch=fetch, headers=headers)
                assert description.check("POST", path, answer)["code"] == "forged"
    assert store.load() == before


# --- methods, paths, bodies ---------------------------------------------------------------------


def test_methods_that_are_none(api: Api) -> None:
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        answer = api.exchange(method, "/api/status")
        assert (answer.status, answer.code) == (405, "method_not_allowed")
        assert answer.response.header("Allow") == "GET, HEAD, OPTIONS"
    answer = api.exchange("GET", "/api/kill")
    assert (answer.status, answer.response.header("Allow")) == (405, "OPTIONS, POST")
    asked = api.visitor.request("OPTIONS", "/api/kill", headers=api.bearer)
    assert (asked.status, asked.header("Allow")) == (204, "OPTIONS, POST")


@pytest.mark.parametrize(
    "path",
    ["/api/", "/api/nothing", "/api/status/", "/api/rollouts//kill", "/api/rollouts/a%2Fb",
     "/api/rollouts/x/detonate", "/api/rollouts/..%2f..%2fkill", "/api/Kill"],
)  # fmt: skip
def test_paths_that_are_none(path: str, api: Api, store: StateStore) -> None:
    before = store.load()
    for method in ("GET", "POST"):
        answer = api.exchange(method, path)
        assert answer.status == 404, answer
    assert store.load() == before


@pytest.mark.parametrize(
    "name",
    ["%2e%2e", "*", "%2A", "caf%C3%A9", "a%20b", "a%00b", "a%0d%0aX-Evil:%201", "%F0%9F%90%A4",
     "x" * 65, "x" * 5_000, "%ff", "<script>"],
)  # fmt: skip
def test_names_that_are_none(name: str, api: Api, store: StateStore) -> None:
    before = store.load()
    for answer in (api.get(f"/api/rollouts/{name}"), api.post(f"/api/rollouts/{name}/kill", {})):
        assert answer.status == 404
        assert answer.code in {"unknown_rollout", "not_found"}
        assert not answer.response.all("X-Evil")
    assert store.load() == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b'"kill"', 400),
        (b"\xff\xfe", 400),
        (b"\xef\xbb\xbf{}", 400),
        (b'{"why": NaN}', 400),
        (b'{"why": -Infinity}', 400),
        (b'{"why": "a", "why": "b"}', 400),
        (b'{"why": {"a": 1, "a": 2}}', 400),
        (b"[" * 30_000, 400),
        (b'{"why":' * 5_000 + b"1" + b"}" * 5_000, 400),
        (b'{"why": ' + b"9" * 5_000 + b"}", 400),
        (b'{"why": 9e999}', 422),
        (b'{"why": [[[]]]}', 422),
        (b'{"\\ud800": 1}', 422),
        (b" " * 65_537, 413),
        (b'{"why": "' + b"x" * 1_000_000 + b'"}', 413),
    ],
)
def test_bodies_that_are_none(body: bytes, status: int, api: Api, store: StateStore) -> None:
    before = store.load()
    kind = {"Content-Type": "application/json"}
    answer = api.exchange("POST", "/api/kill", body, kind)
    assert answer.status == status
    assert len(answer.response.body) < 2_000
    assert store.load() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp",
             "multipart/form-data; boundary=x", "application/json-patch+json", ""],
)  # fmt: skip
def test_only_json_is_json(kind: str, api: Api, store: StateStore) -> None:
    before = store.load()
    for body in (b"{}", b"why=x"):
        answer = api.exchange("POST", "/api/kill", body, {"Content-Type": kind})
        assert (answer.status, answer.code) == (415, "not_json")
    assert store.load() == before


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_json(kind: str, api: Api, store: StateStore) -> None:
    assert (
        api.exchange("POST", "/api/kill", b' {"why": "x"} ', {"Content-Type": kind}).status == 200
    )


def test_what_people_write_stays_text(api: Api, store: StateStore) -> None:
    stages.paused(store, NAME)
    why = "<script>alert(1)</script> \u202e Ünï 🐤 \x1b[31m\r\nSet-Cookie: a=b"
    answer = api.post(f"/api/rollouts/{NAME}/pause", {"why": why})
    assert answer.code == "refused"
    assert api.post(f"/api/rollouts/{NAME}/weight", {"weight": "7%", "why": why}).status == 200
    (line,) = api.get(f"/api/rollouts/{NAME}/history?limit=1").json
    assert line["why"].startswith("<script>alert(1)</script>")
    assert line["why"].isprintable()
    assert not answer.response.all("Set-Cookie")


def test_a_program_that_gives_up_harms_nobody(api: Api, panel: Panel, store: StateStore) -> None:
    before = store.load()
    head = f"POST /api/kill HTTP/1.1\r\nHost: x\r\nAuthorization: {api.bearer['Authorization']}\r\n"
    half = "Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
    for _ in range(20):
        with socket.create_connection((LOCALHOST, panel.port)) as connection:
            connection.sendall((head + half).encode())
    assert api.get("/api/status").status == 200
    assert "Traceback" not in panel.log()
    assert store.load() == before
