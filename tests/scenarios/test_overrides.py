"""What applications and targets see of a request that carried tokens: nothing of them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from canary_middleware import Canary, Rollout, asgi, current, wsgi
from canary_middleware.core.model import Reason
from canary_middleware.core.routing import Place, Standing, route
from canary_middleware.core.snapshot import Track, compile_snapshot
from tests.scenarios import asgi_driver, wsgi_driver
from tests.scenarios.facade import facade
from tests.scenarios.rows_overrides import CANARY, COOKIE, DEBUG, GOOD, ON, STABLE
from tests.scenarios.site import NOW
from tests.scenarios.words import Ask, Reply

TARGET = f"/checkout?a=%20b&canary-override={GOOD}&c"
ASK = Ask(
    TARGET,
    headers=[
        ("x-other", "kept"),
        ("x-canary-override", f"forged.x, {DEBUG}"),
        ("x-canary-override", GOOD),
        ("x-canary-explain", "please"),
        ("cookie", f'a="1 2";  {COOKIE}={GOOD}; b=\xfc'),
    ],
)
PLAIN = [("content-type", "text/plain")]
REDUCED = Ask("/checkout?a=%20b&c", headers=[("x-other", "kept"), ("cookie", 'a="1 2"; b=\xfc')])


def alice(view: object) -> str:
    return "alice@example.com"


def shop(**settings: Any) -> Canary:
    return facade("0%", {**ON, "wall": lambda: NOW, **settings})


def asgi_app(name: str, seen: list[Any]) -> Any:
    """Remembers every scope that it got, and tells the version."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope)
            body = f"{name} {current('checkout').version}"
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": body.encode()})

    return app


def wsgi_app(name: str, seen: list[Any]) -> Any:
    """Remembers every environ that it got, and tells the version."""

    def app(environ: Any, start_response: Any) -> Any:
        seen.append(environ)
        body = f"{name} {current('checkout').version}"
        start_response("200 OK", list(PLAIN))
        return [body.encode()]

    return app


def expected(path: str, *, targeted: bool) -> str:
    if path != "/checkout":
        return "app "
    return "beta 2" if targeted else "app 2"


def by_asgi(app: Any, scope: Any) -> Reply:
    with asyncio.Runner() as runner:
        return runner.run(asgi_driver.exchange(app, scope))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("path", ["/checkout", "/elsewhere"])
def test_asgi_applications_and_targets_see_no_token(path: str, targeted: bool) -> None:
    seen: list[Any] = []
    app, beta = asgi_app("app", seen), asgi_app("beta", seen)
    canary = facade("0%", {**ON, "wall": lambda: NOW}, paths=["/checkout"])
    covered = asgi.CanaryMiddleware(app, canary, {"checkout": beta} if targeted else {})
    scope = {**asgi_driver.http_scope(ASK), "path": path, "raw_path": path.encode()}
    before = {**scope, "headers": list(scope["headers"])}
    reply = by_asgi(covered, scope)
    (given,) = seen
    reduced = asgi_driver.http_scope(REDUCED)
    assert (given["headers"], given["query_string"]) == (reduced["headers"], b"a=%20b&c")
    assert (scope["headers"], scope["query_string"]) == (before["headers"], before["query_string"])
    assert reply.body.decode() == expected(path, targeted=targeted)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("path", ["/checkout", "/elsewhere"])
def test_wsgi_applications_and_targets_see_no_token(path: str, targeted: bool) -> None:
    seen: list[Any] = []
    app, beta = wsgi_app("app", seen), wsgi_app("beta", seen)
    canary = facade("0%", {**ON, "wall": lambda: NOW}, paths=["/checkout"])
    targets = {"checkout": validator(beta)} if targeted else {}
    covered = wsgi.CanaryMiddleware(validator(app), canary, targets)
    uris = {"REQUEST_URI": TARGET, "RAW_URI": TARGET}
    environ = {**wsgi_driver.http_environ(ASK), **uris, "PATH_INFO": path}
    before = {**environ}
    reply = wsgi_driver.exchange(validator(covered), environ)
    (given,) = seen
    assert not [key for key, value in given.items() if GOOD in str(value) or DEBUG in str(value)]
    assert "HTTP_X_CANARY_EXPLAIN" not in given
    assert given["HTTP_COOKIE"] == 'a="1 2"; b=\xfc'
    assert given["REQUEST_URI"] == given["RAW_URI"] == "/checkout?a=%20b&c"
    assert (given["QUERY_STRING"], given["HTTP_X_OTHER"]) == ("a=%20b&c", "kept")
    assert {key: environ[key] for key in before if not key.startswith("wsgi.")} == {
        key: value for key, value in before.items() if not key.startswith("wsgi.")
    }
    assert reply.body.decode() == expected(path, targeted=targeted)


def test_where_it_is_off_the_application_gets_the_very_scope() -> None:
    seen: list[Any] = []
    off = shop(overrides=())
    scope, environ = asgi_driver.http_scope(ASK), wsgi_driver.http_environ(ASK)
    by_asgi(asgi.CanaryMiddleware(asgi_app("app", seen), off), scope)
    wsgi_driver.exchange(wsgi.CanaryMiddleware(wsgi_app("app", seen), off), environ)
    assert seen[0] is scope
    assert seen[1] is environ


def test_a_second_run_sees_no_token_either() -> None:
    seen: list[Any] = []
    working = asgi_app("app", seen)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        if not seen:
            seen.append(scope)
            assert current("checkout").is_canary
            raise RuntimeError
        await working(scope, receive, send)

    reply = by_asgi(asgi.CanaryMiddleware(broken, shop()), asgi_driver.http_scope(ASK))
    assert reply.body == b"app 1"
    first, second = seen
    assert second["headers"] == first["headers"] == asgi_driver.http_scope(REDUCED)["headers"]
    assert second["query_string"] == b"a=%20b&c"
    assert reply.all("x-canary-explain") == [
        "checkout: stable, version 1, reason error (override: canary)"
    ]


def test_websockets() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["query_string"], current("checkout").version))
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    scope = {**asgi_driver.http_scope(ASK), "type": "websocket", "scheme": "wss"}
    del scope["method"]
    asyncio.run(asgi.CanaryMiddleware(app, shop())(scope, receive, send))
    assert seen == [(b"a=%20b&c", "2")]
    headers = dict(told[0]["headers"])
    assert headers[b"x-canary-explain"].startswith(b"checkout: canary, version 2, reason override")


def test_the_explanation_is_one_bounded_line_without_identifiers() -> None:
    names = [f"{index:02}" + "m" * 62 for index in range(12)]
    rollouts = [Rollout(name, stable="s" * 64, canary="c" * 64) for name in names]
    who = {"identify": alice, "bucket_secret": "b" * 32}
    canary = facade("50%", {**ON, **who, "wall": lambda: NOW}, rollouts)
    working = wsgi_app("app", [])

    def reading_all(environ: Any, start_response: Any) -> Any:
        for rollout in canary.engine.rollouts:
            current(rollout.name)
        return working(environ, start_response)

    covered = wsgi.CanaryMiddleware(reading_all, canary)
    reply = wsgi_driver.exchange(covered, wsgi_driver.http_environ(ASK))
    (line,) = reply.all("x-canary-explain")
    assert len(line) == 1000
    assert line.isascii()
    assert line.isprintable()
    assert "alice" not in line


def mutations(count: int) -> Iterator[str]:
    """Tokens that are nearly right."""
    rng = random.Random(12)
    letters = "ABCXYZabcxyz0189-_.:,%"
    while count:
        at, other = rng.randrange(len(GOOD)), rng.choice(letters)
        near = rng.choice([
            GOOD[:at] + other + GOOD[at + 1 :], GOOD[:at] + other + GOOD[at:],
            GOOD[:at] + GOOD[at + 1 :], GOOD[:at], GOOD[at:], GOOD.swapcase(), other + GOOD[1:],
            GOOD.rpartition(".")[0] + ".", GOOD + other.strip(",:") + "A", DEBUG[:at] + GOOD[at:],
        ])  # fmt: skip
        if near.strip(",:") not in (GOOD, DEBUG):  # between separators it still stands alone
            count -= 1
            yield near


def test_s12_of_ten_thousand_mutations_none_is_accepted() -> None:
    canary = shop()
    covered = wsgi.CanaryMiddleware(wsgi_app("app", []), canary)
    accepted = []
    for near in mutations(10_000):
        target = f"/checkout?canary-override={near}"
        headers = [("x-canary-override", near), ("cookie", f"{COOKIE}={near}")]
        environ = wsgi_driver.http_environ(Ask(target, headers=headers))
        reply = wsgi_driver.exchange(covered, environ)
        if reply.body != b"app 1" or reply.status != 200:
            accepted.append(near)
    assert accepted == []
    counted = Counter(canary.engine.recorder.events)
    assert counted.keys() <= {f"override_{why}" for why in ("forged", "malformed", "surplus")}
    assert counted.total() >= 20_000


def test_no_claim_is_made_with_shared_affinity() -> None:
    who = {"identify": alice, "bucket_secret": "b" * 32}
    canary = facade("50%", {**ON, **who, "wall": lambda: NOW}, affinity="shared")
    covered = wsgi.CanaryMiddleware(wsgi_app("app", []), canary)
    assert wsgi_driver.exchange(covered, wsgi_driver.http_environ(ASK)).body == b"app 2"
    assert canary.engine.claims.counts() == {}
    wsgi_driver.exchange(covered, wsgi_driver.http_environ(REDUCED))
    assert canary.engine.claims.counts() == {"checkout": 1}, "without a token there is one"


# --- gates that a scenario cannot reach -----------------------------------------------------------


@pytest.mark.parametrize("cohort", [STABLE, CANARY])
@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (Standing(stale=True), Reason.STALE_CONTROL),
        (Standing(failed=True), Reason.ERROR),
        (Standing(ready=False), Reason.NOT_READY),
    ],
)
def test_no_token_passes_doubt(
    standing: Standing, reason: Reason, cohort: Any, debug: bool
) -> None:
    canary = shop()
    lane = canary.engine.snapshot.by_name["checkout"]
    place = Place(override=cohort, debug=debug)
    assert route(lane, None, place, standing) is lane.stable[reason]
    assert route(lane, None, place).reason is Reason.OVERRIDE


def test_no_token_passes_another_release() -> None:
    """A debug token of the release that this process declares, while another one is current."""
    document = shop().engine.document
    assert document is not None
    newer = facade(None, canary="3").engine.rollouts[0]
    lane = compile_snapshot([Track.of(newer, "shop", b"")], document).lanes[0]
    assert lane.gate is Reason.OTHER_RELEASE
    assert route(lane, None, Place(override=CANARY, debug=True)) is lane.closed


def test_an_override_is_no_evidence() -> None:
    lane = shop().engine.snapshot.by_name["checkout"]
    for cohort in (STABLE, CANARY):
        assert not route(lane, None, Place(override=cohort)).measured


def test_a_process_that_lost_its_store_serves_stable_to_every_token() -> None:
    """Through the whole middleware, on a store that nobody answers for."""
    now = [1000.0]
    canary = shop(clock=lambda: now[0])
    canary.engine.max_staleness = 60.0
    canary.engine.confirm(now[0])
    covered = wsgi.CanaryMiddleware(wsgi_app("app", []), canary)
    assert wsgi_driver.exchange(covered, wsgi_driver.http_environ(ASK)).body == b"app 2"
    now[0] += 60.1
    assert wsgi_driver.exchange(covered, wsgi_driver.http_environ(ASK)).body == b"app 1"
