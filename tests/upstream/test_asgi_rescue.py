"""A canary behind HTTP on a real server: rescue (FAULTS.md, U1), readiness, start and end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from canary_middleware import Canary, Rescue, Rollout, current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts
from tests.scenarios.facade import facade, kill, outcomes
from tests.support.servers import free_port, wait_until
from tests.upstream.asgi_rig import Front
from tests.upstream.origins import Origin, Peer, answering, silent, text

OK = text(b"canary")
QUICK = Timeouts(connect=0.4, start=0.4, idle=0.4, total=5.0)


async def stable(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body that it got."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    body, more = b"stable ", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def serving(front: Front, url: str, canary: Canary, **options: Any) -> Any:
    upstream = AsgiUpstream(url, **options)
    return front.serving(CanaryMiddleware(stable, canary, {"checkout": upstream}))


@contextlib.contextmanager
def ready(front: Front, script: Any, canary: Canary, **options: Any) -> Iterator[Origin]:
    with Origin(script) as origin, serving(front, origin.url, canary, **options):
        # On a busy machine the first answer to a probe may come after the start.
        wait_until(lambda: canary.engine.silent() == ())
        yield origin


@pytest.mark.alone
def test_u1_stable_answers_what_an_unreachable_canary_never_saw(front: Front) -> None:
    canary = facade()
    with ready(front, answering(OK), canary) as origin:
        assert front.ask().body == b"canary"
        origin.stop()
        origin.cut()
        begun = time.monotonic()
        for _ in range(10):
            assert front.ask().body == b"stable "
            assert front.ask(method="POST", body=b"paid").body == b"stable paid"
        took = (time.monotonic() - begun) / 20
    assert outcomes(canary) == {"canary 2xx": 1, "canary rescued": 20}
    assert took < 0.05
    print(f"\nU1: {1000 * took:.1f} ms a rescue")


def test_u1_no_budget_bounds_what_never_ran(front: Front) -> None:
    canary = facade(rescue=Rescue(budget="1%"))
    with ready(front, answering(OK), canary) as origin:
        assert front.ask().status == 200
        origin.stop()
        origin.cut()
        with ThreadPoolExecutor(20) as crowd:
            found = crowd.map(lambda _: front.ask(method="POST", body=b"paid").body, range(60))
            assert set(found) == {b"stable paid"}


def test_what_an_application_acted_on_before_it_asked_an_upstream_is_not_repeated(
    front: Front,
) -> None:
    orders = []
    inside = AsgiUpstream(f"http://127.0.0.1:{free_port()}")

    async def shop(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            orders.append(current("checkout").version)
            await inside(scope, receive, send)

    canary = facade(more=[Rollout("blog", stable="1", canary="2", paths=["/blog"])])
    with Origin(silent) as origin:
        targets = {"blog": AsgiUpstream(origin.url)}
        with front.serving(CanaryMiddleware(shop, canary, targets)):
            assert front.ask(method="POST", body=b"paid").status == 502
    assert orders == ["2"]
    assert outcomes(canary) == {"canary 5xx": 1}


def test_what_was_sent_is_not_sent_to_stable_too(front: Front) -> None:
    canary = facade()
    with ready(front, lambda peer: peer.head(), canary) as origin:
        assert front.ask(method="POST", body=b"paid").status == 502
        assert front.ask().body == b"stable "
        assert len(origin.heads) == 2
    assert outcomes(canary) == {"canary 5xx": 1, "canary rescued": 1}


def test_a_body_that_is_still_coming_reaches_stable_whole(front: Front) -> None:
    """The canary answers in the middle of it; nothing is lost between the two who read it."""

    def script(peer: Peer) -> None:
        peer.head()
        peer.until(b"one")  # whatever else came along
        peer.send(text(b"", status=b"503 Too Soon"))

    canary = facade(rescue=Rescue(methods=("POST",)))
    with ready(front, script, canary) as origin:
        for pause in (0.0, 0.05):
            with contextlib.closing(front.caller()) as caller:
                caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                caller.send(b"3\r\none\r\n")
                for piece in (b"two", b"six"):
                    time.sleep(pause)
                    caller.send(b"3\r\n%b\r\n" % piece)
                caller.send(b"0\r\n\r\n")
                assert caller.answer().body == b"stable onetwosix"
        assert len(origin.heads) == 2
    assert outcomes(canary) == {"canary rescued": 2}


def test_a_kill_takes_those_along_who_wait_for_the_canary(front: Front) -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        while peer.head():
            go_on.wait(5)
            peer.send(OK)

    canary = facade()
    with ready(front, script, canary) as origin, contextlib.closing(front.caller()) as caller:
        caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: bool(origin.heads))
        kill(canary)
        wait_until(lambda: front.ask().body == b"stable ")
        go_on.set()
        assert caller.answer().body == b"stable "


BROKEN = {
    "no Host": (b"Content-Length: 0\r\n\r\n", 400),
    "a body that stalls": (b"Host: a\r\nContent-Length: 9\r\n\r\npaid", 408),
    "a coding": (b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "a long head": (b"Host: a\r\nX: " + b"x" * 64 * 1024 + b"\r\n\r\n", 431),
    "a Host that is none": (b"Host: a/b\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_", "status"), BROKEN.values(), ids=BROKEN)
def test_a_clients_own_fault_is_none_of_the_canarys(
    front: Front, request_: bytes, status: int
) -> None:
    canary = facade()
    with ready(front, silent, canary, timeouts=QUICK) as origin:
        with contextlib.closing(front.caller()) as caller:
            caller.send(b"POST / HTTP/1.1\r\n" + request_)
            assert caller.answer().status == status
        assert not origin.heads
        assert not front.lines
    assert outcomes(canary) == {"canary 4xx": 1}


def test_a_reader_that_stalls_is_no_fault_of_the_canarys(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sock.sendall(b"x" * 65536)

    canary = facade()
    whole = Timeouts(connect=0.4, start=0.4, idle=0.4, total=0.8)
    serving_ = ready(front, script, canary, timeouts=whole)
    with serving_, contextlib.closing(front.caller()) as caller:
        caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: bool(outcomes(canary)), timeout=2)
    assert outcomes(canary) == {"canary aborted": 1}


@pytest.mark.alone
@pytest.mark.parametrize("probe", [None, "/healthz"])
def test_the_arm_opens_once_the_canary_answers_its_probe(front: Front, probe: str | None) -> None:
    asked: list[float] = []

    def script(peer: Peer) -> None:
        while head := peer.head():
            if b"/healthz" not in head:
                peer.send(OK)
                continue
            asked.append(time.monotonic())
            peer.send(OK if len(asked) > 2 else text(b"", status=b"503 Not Yet"))

    port, canary = free_port(), facade()
    begun = time.monotonic()
    with serving(front, f"http://127.0.0.1:{port}", canary, probe=probe):
        assert time.monotonic() - begun < 0.35
        assert front.ask().body == b"stable "
        assert not outcomes(canary).get("canary rescued")
        with Origin(script, socket.create_server(("127.0.0.1", port))):
            took = wait_until(lambda: front.ask().body == b"canary", timeout=8)
            print(f"\nready after {took:.2f} s")
            assert len(asked) == (3 if probe else 0)
            canary.stop()
    assert not outcomes(canary).get("canary rescued")


@pytest.mark.alone
def test_the_end_does_not_wait_for_a_canary_that_never_came(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        silent(peer)

    with Origin(script) as origin:
        with serving(front, origin.url, facade(), probe="/healthz"):
            wait_until(lambda: bool(origin.heads))
            begun = time.monotonic()
        assert time.monotonic() - begun < 0.25


def test_a_handshake_that_cannot_be_passed_on_takes_nobodys_trial(front: Front) -> None:
    port = free_port()
    with serving(front, f"http://127.0.0.1:{port}", canary := facade()):
        canary.engine.set_ready("checkout", ready=True)
        assert front.ask().body == b"stable "
        with Origin(answering(OK), socket.create_server(("127.0.0.1", port))):
            time.sleep(0.6)  # the first back-off
            asks = ("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13")
            key = f"Sec-WebSocket-Key: {'x' * 22}=="
            assert front.ask("/", "GET", None, *asks, key, "Host: another").status == 400
            assert front.ask().body == b"canary"


def test_connections_that_others_hold_are_no_failure_of_the_canary(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        silent(peer)

    canary = facade()
    patient = Timeouts(connect=0.2, start=9.0, idle=9.0, total=9.0)
    serving_ = ready(front, script, canary, timeouts=patient, connections=1)
    with serving_ as origin, contextlib.closing(front.caller()) as caller:
        wait_until(lambda: canary.engine.silent() == ())
        caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: bool(origin.heads))
        assert front.ask(method="POST", body=b"paid").body == b"stable paid"
        assert outcomes(canary) == {"canary superseded": 1}
