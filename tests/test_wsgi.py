"""What only WSGI has: write, exc_info, environ, threads.

Bodies are in tests/scenarios/test_wsgi_bodies.py, what it shares with ASGI is in tests/scenarios.
"""

from __future__ import annotations

import functools
import io
import sys
import threading
from collections.abc import Iterable
from typing import Any

import flask
import pytest

from canary_middleware import ConfigurationError, Rescue, current
from canary_middleware.context import ENVIRON_KEY
from canary_middleware.core.active import active_visit
from canary_middleware.wsgi import CanaryMiddleware
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.words import Ask
from tests.scenarios.wsgi_apps import PLAIN, Tracked, boom, environ, ignore, streaming, version
from tests.scenarios.wsgi_driver import exchange, http_environ

# --- start_response ---------------------------------------------------------------------------


def test_write_reaches_the_server_before_the_body() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        write = start_response("200 OK", [("X-Version", current("checkout").version), *PLAIN])
        write(b"written ")
        return [b"returned"]

    canary = facade()
    reply = exchange(CanaryMiddleware(app, canary), environ())
    assert reply.chunks == [b"written ", b"returned"]
    assert reply.all("vary") == ["Cookie"]
    assert outcomes(canary) == {"canary 2xx": 1}


def test_write_of_a_superseded_canary_reaches_nobody() -> None:
    canary = facade()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        found = current("checkout")
        if found.is_canary:
            kill(canary)
        start_response("200 OK", list(PLAIN))(found.version.encode())
        return []

    assert exchange(CanaryMiddleware(app, canary), environ()).body == b"1"
    assert outcomes(canary) == {"canary superseded": 1, "stable 2xx": 1}


def test_an_error_after_the_start_passes_its_exc_info_to_the_server() -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", [*PLAIN, ("X-First", "1")])
        try:
            boom()
        except RuntimeError:
            start_response("500 Broken", list(PLAIN), sys.exc_info())
        return [b"sorry"]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        seen.append((status, [name for name, _ in headers], exc_info and exc_info[0]))

    canary = facade()
    body = CanaryMiddleware(app, canary)(environ(), start_response)
    assert list(body) == [b"sorry"]
    ours = ["Cache-Control", "Vary"]
    assert seen == [
        ("200 OK", ["Content-Type", "X-First", *ours], None),
        ("500 Broken", ["Content-Type", *ours], RuntimeError),
    ]
    assert outcomes(canary) == {"canary 5xx": 1}


def test_a_canary_that_swallows_its_unwinding_is_superseded_all_the_same() -> None:
    closed = Tracked(b"nobody sees this")

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not current("checkout").is_canary:
            return version(environ, start_response)
        try:
            start_response("503 Down", list(PLAIN))
        except BaseException:  # noqa: BLE001  # the mistake that is tested
            return closed
        return []

    canary = facade()
    assert exchange(CanaryMiddleware(app, canary), environ()).body == b"1"
    assert closed.closed == 1
    assert outcomes(canary) == {"canary rescued": 1}


# --- environ --------------------------------------------------------------------------------------


def test_the_second_run_gets_the_environ_as_it_was() -> None:
    seen: list[tuple[bool, bytes]] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(("app.scratch" in environ, environ["wsgi.input"].read()))
        environ["app.scratch"] = environ["PATH_INFO"] = "spoilt"
        if current("checkout").is_canary:
            boom()
        return version(environ, start_response)

    canary = facade(rescue=Rescue(methods=("POST",)))
    given = environ(method="POST", body=b"order")
    assert exchange(CanaryMiddleware(app, canary), given).body == b"1"
    assert seen == [(False, b"order"), (False, b"order")]


def test_a_long_body_is_not_read_ahead() -> None:
    class Untouched(io.BytesIO):
        def read(self, _size: int | None = -1, /) -> bytes:
            raise AssertionError("read before the application asked")

    canary = facade(rescue=Rescue(methods=("POST",)))
    given = environ(method="POST")
    given |= {"CONTENT_LENGTH": str(64 * 1024 + 1), "wsgi.input": Untouched()}
    assert exchange(CanaryMiddleware(version, canary), given).body == b"2"


def test_nested_middlewares_decide_once() -> None:
    canary = facade()
    visits: list[object] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        visits.append(environ[ENVIRON_KEY])
        return version(environ, start_response)

    twice = CanaryMiddleware(CanaryMiddleware(app, canary), canary)
    reply = exchange(twice, environ())
    assert reply.all("vary") == ["Cookie"]
    assert outcomes(canary) == {"canary 2xx": 1}
    assert len(visits) == 1


def test_a_canary_inside_another_one_does_not_hide_its_rollouts() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = current("checkout").version + current("search").version
        start_response("200 OK", list(PLAIN))
        return [body.encode()]

    inner = facade(name="search", stable="a", canary="b")
    outer = facade(settings={"namespace": "mall"})
    reply = exchange(CanaryMiddleware(CanaryMiddleware(app, inner), outer), environ())
    assert reply.body == b"2b"
    assert outcomes(outer) == {"canary 2xx": 1}
    assert outcomes(inner) == {"canary 2xx": 1}


def test_a_canary_whose_outer_one_is_superseded_is_not_to_blame() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("search")
        start_response("500 No" if current("checkout").is_canary else "200 OK", list(PLAIN))
        return [b"x"]

    inner = facade("0%", name="search", stable="a", canary="b")
    outer = facade(settings={"namespace": "mall"})
    assert exchange(CanaryMiddleware(CanaryMiddleware(app, inner), outer), environ()).status == 200
    assert outcomes(outer) == {"canary rescued": 1}
    assert outcomes(inner) == {"stable aborted": 1, "stable 2xx": 1}


def test_targets_of_an_inner_middleware_of_the_same_canary_are_served() -> None:
    def new(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return [b"the second application"]

    canary = facade()
    inner = CanaryMiddleware(version, canary, {"checkout": new})
    reply = exchange(CanaryMiddleware(inner, canary), environ())
    assert reply.body == b"the second application"
    assert outcomes(canary) == {"canary 2xx": 1}


def test_a_request_inside_a_request_gives_the_context_back() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        before = current("checkout").version
        if environ["PATH_INFO"] == "/batch":
            exchange(covered, http_environ(Ask("/checkout")))
        start_response("200 OK", list(PLAIN))
        return [f"{before}{current('checkout').version}".encode()]

    canary = facade()
    covered = CanaryMiddleware(app, canary)
    assert exchange(covered, environ("/batch")).body == b"22"
    assert outcomes(canary) == {"canary 2xx": 2}


# --- threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [(), (b"a",), (boom,), (b"a", boom)])
def test_nothing_leaks_to_the_next_request_of_a_thread(ending: tuple[Any, ...]) -> None:
    canary = facade(rescue=Rescue(enabled=False))
    exchange(CanaryMiddleware(streaming(Tracked(*ending)), canary), environ())
    assert active_visit.get() is None
    assert current("checkout").reason.value == "no_request"


def test_threads_see_their_own_visitors() -> None:
    size = 8
    together = threading.Barrier(size, timeout=10)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        visit = environ[ENVIRON_KEY]
        together.wait()
        same = active_visit.get() is visit
        start_response("200 OK", list(PLAIN))
        for _ in range(20):
            together.wait()
            same = same and active_visit.get() is visit and current("checkout").is_canary
            yield b""
        yield b"own" if same else b"mixed"

    canary = facade()
    covered = CanaryMiddleware(app, canary)
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.append(exchange(covered, environ()).body))
        for _ in range(size)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert bodies == [b"own"] * size
    assert outcomes(canary) == {"canary 2xx": size}


# --- construction ---------------------------------------------------------------------------------


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


async def identify(view: Any) -> None:
    return None


def test_an_asgi_application_is_refused_everywhere() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CanaryMiddleware(
            asgi_app,  # type: ignore[arg-type]  # the mistake that is tested
            facade(),
            targets={"checkout": functools.partial(asgi_app), "nothing": version},  # type: ignore[dict-item]  # as above
        )
    assert [problem.place for problem in caught.value.problems] == [
        "app",
        "targets['checkout']",
        "targets['nothing']",
    ]


def test_a_coroutine_function_cannot_identify() -> None:
    canary = facade(settings={"identify": identify, "bucket_secret": "b" * 32})
    with pytest.raises(ConfigurationError, match="identify"):
        CanaryMiddleware(version, canary)


@pytest.mark.parametrize("app", [version, functools.partial(version), flask.Flask("shop")])
def test_wsgi_applications_are_accepted(app: Any) -> None:
    CanaryMiddleware(app, facade())


# --- what a server should not have let through ----------------------------------------------------


@pytest.mark.parametrize("length", ["-1", "+1", "1e3", "\u0663", "9" * 5000, "0x10", "1_0"])
def test_an_odd_length_is_not_read_ahead_and_left_to_the_application(length: str) -> None:
    seen: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ["CONTENT_LENGTH"])
        assert environ["wsgi.input"] is body
        return version(environ, start_response)

    body = io.BytesIO(b"x")
    given = {**environ(), "CONTENT_LENGTH": length, "wsgi.input": body}
    assert b"".join(CanaryMiddleware(app, facade())(given, ignore)) == b"2"
    assert seen == [length]


@pytest.mark.parametrize("status", ["", "OK", "\u0662\u0660\u0660 OK"])
def test_an_odd_status_is_the_servers_to_refuse(status: str) -> None:
    told: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = current("checkout").version.encode()
        start_response(status, list(PLAIN))
        return [body]

    def server(line: str, headers: Any, exc_info: Any = None) -> Any:
        told.append(line)

    canary = facade()
    assert b"".join(CanaryMiddleware(app, canary)(environ(), server)) == b"2"
    assert told == [status]
    assert outcomes(canary) == {"canary other": 1}


def test_a_visit_that_was_never_closed_is_not_seen_by_the_threads_next_request() -> None:
    def outside(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return [current("checkout").reason.value.encode()]

    canary = facade(paths=["/checkout"])
    forgotten = CanaryMiddleware(streaming(Tracked(b"a")), canary)(environ(), ignore)
    assert list(forgotten) == [b"a"]  # and no close()
    assert active_visit.get() is not None
    reply = exchange(CanaryMiddleware(outside, canary), environ("/about"))
    assert reply.body == b"no_request"
    covered = exchange(CanaryMiddleware(version, canary), environ())
    assert covered.body == b"2"
    assert active_visit.get() is None
