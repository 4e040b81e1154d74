"""WSGI bodies: the closing iterator, file wrappers, sized bodies."""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.handlers import SimpleHandler
from wsgiref.util import FileWrapper

import pytest

from canary_middleware import Rollout, current, verbs
from canary_middleware.core.active import active_visit
from canary_middleware.wsgi import CanaryMiddleware
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.wsgi_apps import PLAIN, Tracked, boom, environ, ignore, streaming, version
from tests.scenarios.wsgi_driver import exchange


def serve(app: Any, given: dict[str, Any] | None = None) -> bytes:
    """What the standard library's server writes to the socket."""
    out = io.BytesIO()
    given = given or environ()
    handler = SimpleHandler(io.BytesIO(), out, sys.stderr, given, multithread=True)
    handler.run(app)
    return out.getvalue()


# --- the closing iterator -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "outcome"), [(0, "aborted"), (1, "aborted"), (2, "aborted"), (3, "2xx")]
)
def test_close_is_called_once_wherever_the_client_goes_away(items: int, outcome: str) -> None:
    canary, tracked = facade(), Tracked(b"a", b"b")
    body: Any = CanaryMiddleware(streaming(tracked), canary)(environ(), ignore)
    for _ in range(items):
        next(body, None)
    body.close()
    assert tracked.closed == 1
    assert tracked.seen_at_close == "2"
    assert outcomes(canary) == {f"canary {outcome}": 1}
    assert not canary.engine.recorder.running
    assert active_visit.get() is None


def test_a_generator_in_place_of_the_closing_iterator_would_never_close() -> None:
    """The broken variant: closed before its first item, it runs no ``finally``."""
    tracked = Tracked(b"a")

    def wrapped() -> Iterator[bytes]:
        try:
            yield from tracked
        finally:
            tracked.close()

    wrapped().close()  # type: ignore[attr-defined]  # a generator can be closed
    assert tracked.closed == 0


def test_a_body_that_fails_is_closed_once() -> None:
    canary, tracked = facade(), Tracked(b"a", boom)
    reply = exchange(CanaryMiddleware(streaming(tracked), canary), environ())
    assert isinstance(reply.error, RuntimeError)
    assert reply.chunks == [b"a"]
    assert tracked.closed == 1
    assert outcomes(canary) == {"canary exception": 1}


def lazily(chunks: Tracked) -> Any:
    """A canary that fails at its first item, over the stable application ``app``."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return chunks if current("checkout").is_canary else version(environ, start_response)

    return app


def test_the_body_of_a_superseded_canary_is_closed_once() -> None:
    canary, tracked = facade(), Tracked(boom)
    reply = exchange(CanaryMiddleware(lazily(tracked), canary), environ())
    assert reply.body == b"1"
    assert tracked.closed == 1


def test_it_is_closed_once_even_if_stable_fails_as_well() -> None:
    tracked = Tracked(boom)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if current("checkout").is_canary:
            return tracked
        raise LookupError

    canary = facade()
    reply = exchange(CanaryMiddleware(app, canary), environ())
    assert isinstance(reply.error, LookupError)
    assert tracked.closed == 1
    assert active_visit.get() is None
    assert not canary.engine.recorder.running


def test_a_superseded_canary_that_fails_to_close_does_not_fail_stable() -> None:
    class Stubborn(Tracked):
        def close(self) -> None:
            raise OSError("cannot close")

    reply = exchange(CanaryMiddleware(lazily(Stubborn(boom)), facade()), environ())
    assert (reply.body, reply.error) == (b"1", None)


def test_a_generator_that_starts_at_its_first_item_is_superseded() -> None:
    cleaned: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        body = current("checkout").version.encode()
        try:
            start_response("500 Broken" if body == b"2" else "200 OK", list(PLAIN))
            yield body
        finally:
            cleaned.append(body.decode())

    canary = facade()
    assert exchange(CanaryMiddleware(app, canary), environ()).body == b"1"
    assert cleaned == ["2", "1"]
    assert outcomes(canary) == {"canary rescued": 1}


# --- bodies that servers look at ------------------------------------------------------------------


def test_a_file_wrapper_reaches_the_server_as_it_is() -> None:
    given = environ()
    given["wsgi.file_wrapper"] = FileWrapper

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", list(PLAIN))
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"file"))
        return wrapped

    canary = facade()
    body = CanaryMiddleware(app, canary)(given, ignore)
    assert type(body) is FileWrapper
    assert outcomes(canary) == {"canary 2xx": 1}
    assert active_visit.get() is None


def test_a_file_wrapper_is_sent_by_the_server_in_its_own_way() -> None:
    asked: list[str] = []

    class SendFile(SimpleHandler):
        def sendfile(self) -> bool:  # called for an instance of its own file wrapper only
            asked.append("sendfile")
            return False

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", list(PLAIN))
        wrapped: Iterable[bytes] = environ["wsgi.file_wrapper"](io.BytesIO(b"file"))
        return wrapped

    out = io.BytesIO()
    handler = SendFile(io.BytesIO(), out, sys.stderr, environ(), multithread=True)
    handler.run(CanaryMiddleware(app, facade()))
    assert asked == ["sendfile"]
    assert out.getvalue().endswith(b"\r\n\r\nfile")


def test_the_length_of_a_sized_body_is_kept_for_content_length() -> None:
    def sized(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return deque(version(environ, start_response))

    body: Any = CanaryMiddleware(sized, facade())(environ(), ignore)
    assert len(body) == 1
    body.close()
    for app in (version, sized):
        assert b"Content-Length: 1\r\n" in serve(CanaryMiddleware(app, facade()))


def test_a_list_is_booked_when_it_is_returned() -> None:
    canary = facade()
    assert list(CanaryMiddleware(version, canary)(environ(), ignore)) == [b"2"]
    assert outcomes(canary) == {"canary 2xx": 1}


def test_a_body_without_length_gets_none() -> None:
    body: Any = CanaryMiddleware(streaming(Tracked(b"a")), facade())(environ(), ignore)
    assert not hasattr(body, "__len__")
    body.close()


def test_an_unexposed_list_is_handed_through_as_the_very_object() -> None:
    given = [b"hello"]

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", list(PLAIN))
        return given

    assert CanaryMiddleware(app, facade())(environ(), ignore) is given


# --- event streams --------------------------------------------------------------------------------

EVENTS = [("Content-Type", "text/event-stream; charset=utf-8")]


@pytest.mark.parametrize("late", [False, True])
def test_an_event_stream_of_a_killed_canary_ends_after_the_grace(*, late: bool) -> None:
    """Also one that asks for its version when it is under way.

    Each rollout has its own grace: a later kill of another one does not prolong it.
    """
    now = 100.0
    search = Rollout("search", stable="a", canary="b")
    canary = facade(settings={"kill_grace": 5, "clock": lambda: now}, more=[search])

    def asking() -> bytes:
        return current("checkout").version.encode()

    tracked = Tracked(asking, *[b"event"] * 9)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not late:
            current("checkout")
        start_response("200 OK", EVENTS)
        return tracked

    body: Any = CanaryMiddleware(app, canary)(environ(method="POST"), ignore)
    assert next(body) == b"2"
    kill(canary)
    now += 4
    kill(canary, "search")
    assert next(body) == b"event"
    now += 2
    assert list(body) == []
    body.close()
    assert tracked.closed == 1
    assert outcomes(canary) == {"canary 2xx": 1}


@pytest.mark.parametrize("weight", ["100%", "0%"])
def test_an_event_stream_that_lost_its_visitor_ends_when_the_time_to_drain_is_over(
    weight: str,
) -> None:
    """On either side; what is undone in time ends nothing, and other bodies are left alone."""
    now = 100.0
    canary = facade(weight, settings={"drain": 600, "clock": lambda: now})

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", EVENTS if environ["PATH_INFO"] == "/events" else PLAIN)
        return Tracked(*[b"event"] * 9)

    def move(weight: int) -> None:
        verbs.weight(canary.store, "checkout", weight, by="test")

    there, back = (0, 100_000) if weight == "100%" else (100_000, 0)
    middleware = CanaryMiddleware(app, canary)
    events: Any = middleware(environ("/events"), ignore)
    download: Any = middleware(environ("/download"), ignore)
    assert (next(events), next(download)) == (b"event", b"event")
    assert sum(found.open for found in canary.engine.streaming()) == 1
    move(there)
    now += 599
    assert next(events) == b"event"
    move(back)
    now += 599
    assert next(events) == b"event"
    move(there)
    now += 600
    assert list(events) == []
    assert list(download) == [b"event"] * 8
    events.close()
    download.close()
    assert canary.engine.streaming() == ()
    assert list(outcomes(canary).values()) == [2]


def test_a_stream_whose_kill_was_lifted_goes_on() -> None:
    now = 100.0
    canary = facade(settings={"kill_grace": 5, "clock": lambda: now})

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        current("checkout")
        start_response("200 OK", EVENTS)
        return Tracked(*[b"event"] * 3)

    body: Any = CanaryMiddleware(app, canary)(environ(), ignore)
    assert next(body) == b"event"
    kill(canary)
    verbs.revive(canary.store, "checkout", by="test", why="test")
    now += 60
    assert list(body) == [b"event"] * 2
    body.close()
