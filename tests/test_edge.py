"""The decision endpoint in both interfaces, every answer looked at as the proxy sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware import (
    Audience,
    Canary,
    Cohort,
    ConfigurationError,
    Rollout,
    Visitor,
    current,
    verbs,
)
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.edge import DecisionEndpoint, WsgiDecisionEndpoint
from tests.support.clients import CROSS_SITE_NAVIGATION, IMAGE, NAVIGATION

KEY = "a key of these tests, long enough to be one"
Answer = dict[str, str]
Ask = Callable[..., Answer]


def checkout(**more: Any) -> Rollout:
    return Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/checkout",), **more)


def shop(*rollouts: Rollout, **more: Any) -> Canary:
    defaults = {"secret_keys": [KEY], "autostart": "50%", "telemetry": False}
    options: dict[str, Any] = defaults | more
    return Canary(*(rollouts or (checkout(),)), **options)


def question(uri: str | None, method: str, cookie: str, headers: dict[str, str]) -> dict[str, str]:
    asked = {"X-Original-URI": uri, "X-Original-Method": method, "Cookie": cookie, **headers}
    return {name: value for name, value in asked.items() if value}


def checked(status: int, lines: Iterable[tuple[str, str]], body: bytes) -> Answer:
    """The headers of an answer, after what must hold for every one of them."""
    pairs = [(name.lower(), value) for name, value in lines]
    answer = dict(pairs)
    assert len(answer) == len(pairs), "a header came twice, and proxies read only one"
    assert (status, body) == (204, b"")
    assert answer["cache-control"] == "no-store"
    assert (answer["x-canary-cohort"], answer["x-canary-version"]) in (
        ("stable", "1.4.2"),
        ("canary", "1.5.0"),
    )
    return answer


def ask_asgi(
    canary: Canary, uri: str | None = "/checkout", *, method: str = "GET", cookie: str = "",
    headers: dict[str, str] = NAVIGATION, rollout: str = "checkout", app: Any = None,
) -> Answer:  # fmt: skip
    asked = question(uri, method, cookie, headers)
    scope = {
        "type": "http", "method": "GET", "path": "/decide", "raw_path": b"/decide",
        "scheme": "http", "query_string": b"", "root_path": "/edge",
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in asked.items()],
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run((app or DecisionEndpoint(canary, rollout))(scope, receive, send))
    start, body = sent
    lines = [(name.decode(), value.decode()) for name, value in start["headers"]]
    return checked(start["status"], lines, body.get("body", b""))


def ask_wsgi(
    canary: Canary, uri: str | None = "/checkout", *, method: str = "GET", cookie: str = "",
    headers: dict[str, str] = NAVIGATION, rollout: str = "checkout",
) -> Answer:  # fmt: skip
    asked = question(uri, method, cookie, headers)
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/decide", "SCRIPT_NAME": "/edge", "QUERY_STRING": "",
        "wsgi.url_scheme": "http",
        **{"HTTP_" + name.upper().replace("-", "_"): value for name, value in asked.items()},
    }  # fmt: skip
    started: list[Any] = []

    def start(status: str, lines: list[tuple[str, str]]) -> Callable[[bytes], None]:
        started.extend((status, lines))
        return lambda _: None

    body = WsgiDecisionEndpoint(canary, rollout)(environ, start)
    status, lines = started
    return checked(int(status[:3]), lines, b"".join(body))


@pytest.fixture(params=[ask_asgi, ask_wsgi], ids=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


def cookie_of(answer: Answer) -> str:
    return answer["set-cookie"].partition(";")[0]


def kill(canary: Canary) -> None:
    canary.store.kill("*", by="test", why="because", now=1_700_000_000.0)


def test_a_visitor_is_drawn_once_and_stays(ask: Ask) -> None:
    canary = shop()
    seen = set()
    for _ in range(60):
        first = ask(canary)
        again = ask(canary, cookie=cookie_of(first))
        assert again["x-canary-version"] == first["x-canary-version"]
        assert "set-cookie" not in again
        assert first["vary"].startswith("Cookie, Sec-Fetch-Site")
        assert again["vary"] == "Cookie"
        seen.add(first["x-canary-version"])
    assert seen == {"1.4.2", "1.5.0"}


def test_both_interfaces_and_the_middleware_decide_alike() -> None:
    canary = shop()

    async def page(scope: Any, receive: Any, send: Any) -> None:
        found = current("checkout")
        headers = [
            (b"x-canary-version", found.version.encode()),
            (b"x-canary-cohort", found.cohort.value.encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    wrapped = CanaryMiddleware(page, canary)

    async def asked_about(scope: Any, receive: Any, send: Any) -> None:
        await wrapped({**scope, "path": "/checkout", "root_path": ""}, receive, send)

    for _ in range(100):
        drawn = ask_asgi(canary)
        cookie = cookie_of(drawn)
        served = ask_asgi(canary, cookie=cookie, app=asked_about)
        assert "set-cookie" not in served
        answers = (drawn, served, ask_wsgi(canary, cookie=cookie))
        assert len({answer["x-canary-version"] for answer in answers}) == 1


@pytest.mark.parametrize(
    "uri",
    ["/", "/checkout-old", "/static/app.css", "/x/../checkout", "//checkout", "/%2fcheckout",
     "/%252fcheckout", "/che%2563kout", "http://shop/checkout", "/caf\xe9"],
)  # fmt: skip
def test_a_path_outside_the_rollout_gets_stable_and_no_cookie(ask: Ask, uri: str) -> None:
    answer = ask(shop(autostart="100%"), uri)
    assert answer["x-canary-cohort"] == "stable"
    assert not answer.keys() & {"set-cookie", "vary"}


@pytest.mark.parametrize(
    "uri", ["/checkout", "/checkout/", "/checkout/pay?next=%2F", "/che%63kout", "/checkout?/"]
)
def test_the_original_path_is_decoded_once_and_cut_at_the_query(ask: Ask, uri: str) -> None:
    assert ask(shop(autostart="100%"), uri)["x-canary-cohort"] == "canary"


def test_a_path_that_is_not_ascii(ask: Ask) -> None:
    canary = shop(Rollout("checkout", "1.4.2", "1.5.0", paths=("/kassé",)), autostart="100%")
    assert ask(canary, "/kass%C3%A9/pay")["x-canary-cohort"] == "canary"
    assert ask(canary, "/kass%E9/pay")["x-canary-cohort"] == "stable"


def test_the_original_method_counts(ask: Ask) -> None:
    canary = shop(checkout(methods=["POST"]), autostart="100%")
    assert ask(canary, method="GET")["x-canary-cohort"] == "stable"
    assert ask(canary, method="POST")["x-canary-cohort"] == "canary"
    back = ask(canary, method="POST", headers=dict(CROSS_SITE_NAVIGATION))
    assert "set-cookie" not in back


def test_an_image_before_the_first_page_draws_nobody(ask: Ask) -> None:
    answer = ask(shop(), headers=dict(IMAGE))
    assert answer["x-canary-cohort"] == "stable"
    assert "set-cookie" not in answer


def test_a_kill_reaches_those_who_were_on_canary(ask: Ask) -> None:
    canary = shop()
    drawn = [ask(canary) for _ in range(40)]
    lucky = [cookie_of(answer) for answer in drawn if answer["x-canary-cohort"] == "canary"]
    assert lucky
    kill(canary)
    assert {ask(canary, cookie=cookie)["x-canary-cohort"] for cookie in lucky} == {"stable"}


def test_a_proxy_that_does_not_say_what_it_asks_about(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    canary = shop(autostart="100%")
    with caplog.at_level(logging.WARNING):
        for uri, method in ((None, "GET"), ("checkout", "GET"), ("/checkout", "")):
            answer = ask(canary, uri, method=method)
            assert answer["x-canary-cohort"] == "stable"
            assert not answer.keys() & {"set-cookie", "vary"}
    assert canary.engine.recorder.events["edge_unasked"] == 3
    assert [record.message for record in caplog.records if "X-Original-URI" in record.message] != []


@pytest.mark.parametrize("value", ["", "1.abc", "x" * 9000])
def test_a_cookie_that_is_none_of_ours_is_replaced(ask: Ask, value: str) -> None:
    assert "set-cookie" in ask(shop(), cookie=f"a=b; __Host-canary-canary={value}")


def test_hooks_that_break_mean_stable(ask: Ask) -> None:
    def broken(_: object) -> Any:
        raise RuntimeError("the user's hook")

    def ada(_: object) -> str:
        return "ada"

    def five(_: object) -> Any:
        return 5

    secret = {"bucket_secret": KEY, "autostart": "100%"}
    by_identify = shop(identify=broken, **secret)
    rollout = checkout(testers=Audience(predicate=broken))
    by_audience = shop(rollout, identify=ada, **secret)
    by_garbage = shop(identify=five, **secret)
    for canary in (by_identify, by_audience, by_garbage):
        assert ask(canary)["x-canary-cohort"] == "stable"


def test_identify_sees_the_original_request(ask: Ask) -> None:
    def who(view: Any) -> Visitor | None:
        seen.append((view.method, view.path))
        return Visitor(view.header("X-User"), groups=frozenset({"beta"}))

    seen: list[tuple[str, str]] = []
    canary = shop(
        checkout(testers=Audience(groups=["beta"])), identify=who, bucket_secret=KEY, autostart="0%"
    )
    answer = ask(canary, "/checkout/pay?x=1", method="POST", headers={"X-User": "ada"})
    assert answer["x-canary-cohort"] == "canary"
    assert answer["vary"] == "Cookie, X-User"
    assert seen == [("POST", "/checkout/pay")]


def test_identify_may_be_awaited_in_asgi_only() -> None:
    async def who(view: Any) -> str:
        await asyncio.sleep(0)
        return "ada"

    canary = shop(
        checkout(testers=Audience(subjects=["ada"])),
        identify=who,
        bucket_secret=KEY,
        autostart="0%",
    )
    assert ask_asgi(canary)["x-canary-cohort"] == "canary"
    with pytest.raises(ConfigurationError, match="WSGI cannot await"):
        WsgiDecisionEndpoint(canary, "checkout")


def test_a_fault_of_our_own_is_stable_and_counted(ask: Ask) -> None:
    def stopped() -> float:
        raise RuntimeError("no clock")

    canary = shop(autostart="100%", clock=stopped)
    assert ask(canary)["x-canary-cohort"] == "stable"
    assert canary.engine.recorder.events["error_edge"] == 1


def test_a_decision_leaves_nothing_running_and_books_no_outcome(ask: Ask) -> None:
    canary = shop()
    for _ in range(5):
        ask(canary)
    recorder = canary.engine.recorder
    assert not recorder.running
    assert not recorder.cells()


@pytest.mark.parametrize("endpoint", [DecisionEndpoint, WsgiDecisionEndpoint])
def test_a_rollout_that_nobody_declared_is_refused(endpoint: Any) -> None:
    with pytest.raises(ConfigurationError, match="declared: checkout"):
        endpoint(shop(), "chekout")


latin = st.text(st.characters(max_codepoint=255), max_size=60)


@given(uri=latin, rest=latin, method=latin, cookie=latin)
def test_whatever_a_visitor_sends_the_answer_is_204(
    uri: str, rest: str, method: str, cookie: str
) -> None:
    canary = shop()
    for path in (uri, "/" + uri, "/checkout/" + rest):
        for ask in (ask_asgi, ask_wsgi):
            ask(canary, path, method=method, cookie=cookie)
    assert canary.engine.recorder.events["error_edge"] == 0


def test_the_server_starts_and_stops_the_agent_by_the_lifespan() -> None:
    canary = shop()
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    awake: list[tuple[str, bool]] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        awake.append((message["type"], canary.awake))

    asyncio.run(DecisionEndpoint(canary, "checkout")({"type": "lifespan"}, receive, send))
    assert awake == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]


def test_the_words_are_those_of_the_cohort() -> None:
    assert {cohort.value for cohort in Cohort} == {"stable", "canary"}


def test_with_shared_affinity_the_store_is_asked(ask: Ask) -> None:
    """A user whose claim another process made under another weight stays where it put them."""
    canary = shop(
        checkout(affinity="shared", policy="session"), identify=lambda view: view.header("x-user"),
        bucket_secret=KEY, autostart="100%",
    )  # fmt: skip
    users = [f"user-{number}" for number in range(20)]
    first = {user: ask(canary, headers={"X-User": user})["x-canary-cohort"] for user in users}
    assert set(first.values()) == {"canary"}
    verbs.weight(canary.store, "checkout", 0, by="test")
    canary.engine.claims.forget("checkout", ())
    again = {user: ask(canary, headers={"X-User": user})["x-canary-cohort"] for user in users}
    assert again == first
    assert ask(canary, headers={"X-User": "newcomer"})["x-canary-cohort"] == "stable"
