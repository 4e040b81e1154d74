"""What clients do to the ASGI application on a real server: they leave, and they stall."""

from __future__ import annotations

import contextlib
import time

import pytest

from canary_middleware.upstream.settings import Timeouts
from tests.support.servers import wait_until
from tests.upstream.asgi_rig import Front, connections
from tests.upstream.origins import Origin, Peer, Script, answering, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.4, start=0.5, idle=0.5, total=1.5)
SOON = 1.0
"""Seconds within which an upstream hears that a client has left (U7); tenths where it is quiet."""


def left(origin: Origin) -> float:
    """Seconds until the upstream's connection is over."""
    return wait_until(lambda: not connections(origin.port), timeout=SOON, what="it heard of it")


def waiting(peer: Peer) -> None:
    peer.head()
    peer.receive()


def talking(peer: Peer) -> None:
    peer.head()
    peer.send(b"HTTP/1.1 200 OK\r\n\r\nbegun")
    peer.receive()


def flooding(peer: Peer) -> None:
    peer.head()
    peer.sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        peer.sock.sendall(b"x" * 65536)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("script", "sent"),
    [
        (waiting, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (waiting, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\npaid"),
        (waiting, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npaid"),
        (waiting, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npaid\r\n"),
        (talking, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (flooding, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ],
    ids=["silent", "after its body", "in its body", "in its chunks", "in an answer", "in a flood"],
)
def test_u7_the_upstream_hears_of_a_client_that_leaves(
    front: Front, script: Script, sent: bytes
) -> None:
    with front.passing(script) as origin:
        with contextlib.closing(front.caller()) as caller:
            caller.send(sent)
            wait_until(lambda: bool(origin.heads))
            if script is not waiting:
                caller.until(b"x" if script is flooding else b"begun")
        print(f"\nU7: {1000 * left(origin):.0f} ms")
        assert not front.lines, "no fault of the upstream's"


def test_a_client_that_leaves_after_its_answer_costs_no_connection(front: Front) -> None:
    with front.passing(answering(*[OK] * 20)) as origin:
        for _ in range(20):
            assert front.ask().status == 200
        assert len(origin.peers) == 1


@pytest.mark.alone
def test_a_body_that_stalls_is_the_clients_408(front: Front) -> None:
    with front.passing(waiting, timeouts=QUICK) as origin:
        for body in (b"", b"paid"):
            with contextlib.closing(front.caller()) as caller:
                caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n" + body)
                begun = time.monotonic()
                assert caller.answer().status == 408
                assert 0.4 <= time.monotonic() - begun <= 0.7
        assert not connections(origin.port)
        assert not front.lines


@pytest.mark.alone
def test_an_upstream_that_takes_nothing_is_a_504(front: Front) -> None:
    with front.passing(silent, timeouts=QUICK), contextlib.closing(front.caller()) as caller:
        caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        caller.sock.settimeout(0.2)
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError):
            while True:
                caller.send(b"x" * 65536)
        caller.sock.settimeout(3)
        assert caller.answer().status == 504
        assert time.monotonic() - begun < 1.5


@pytest.mark.alone
def test_a_client_that_takes_nothing_is_cut_when_the_whole_is_over(front: Front) -> None:
    with front.passing(flooding, timeouts=QUICK) as origin:
        with contextlib.closing(front.caller()) as caller:
            caller.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_until(lambda: bool(origin.heads))
            begun = time.monotonic()
            wait_until(lambda: not connections(origin.port), timeout=3)
            assert QUICK.idle < time.monotonic() - begun < QUICK.total + 0.3
        assert not front.lines
