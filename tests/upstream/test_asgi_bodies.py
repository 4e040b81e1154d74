"""Bodies through the ASGI application on a real server: early answers, permission to send, none."""

from __future__ import annotations

import contextlib
import time

import pytest

from canary_middleware.upstream.passage import PATIENCE
from tests.support.servers import wait_until
from tests.upstream.asgi_rig import Front, connections
from tests.upstream.origins import Peer, Script, answering, text

OK = text(b"hello")
MUCH = 5_000_000
EXPECTING = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n"
    b"Connection: close\r\n\r\n"
)


def rude(peer: Peer) -> None:
    """Answers and closes while the body still comes, so that its system resets the connection."""
    if peer.head():
        peer.body(1000)
        peer.send(text(b"too much", b"Connection: close", status=b"413 Content Too Large"))


def polite(peer: Peer) -> None:
    """Answers early, then reads on."""
    while peer.head():
        peer.body(1000)
        peer.send(text(b"who?", status=b"401 Unauthorized"))
        peer.body(MUCH - 1000)


@pytest.mark.parametrize(("script", "status"), [(rude, 413), (polite, 401)])
def test_an_early_answer_arrives_however_much_is_still_to_come(
    front: Front, script: Script, status: int
) -> None:
    with front.passing(script) as origin:
        seen = []
        for _ in range(30):
            with contextlib.closing(front.caller()) as caller:
                caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH)
                with contextlib.suppress(OSError):
                    caller.send(b"x" * MUCH)
                seen.append(caller.answer().status)
        assert seen == [status] * 30
        assert len(origin.peers) == 30, "what is left of a body is no request"


def test_permission_to_send_is_the_upstreams_to_give(front: Front) -> None:
    bodies = []

    def script(peer: Peer) -> None:
        assert b"expect: 100-continue" in peer.head().lower()
        peer.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            peer.sock.recv(1)
        peer.sock.settimeout(5)
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        bodies.append(peer.body(4))
        peer.send(OK)

    with front.passing(script), contextlib.closing(front.caller()) as caller:
        caller.send(EXPECTING)
        assert caller.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.send(b"paid")
        got = caller.answer()
        assert (got.status, got.body) == (200, b"hello")
    assert bodies == [b"paid"]


@pytest.mark.parametrize("status", [b"417 Expectation Failed", b"413 Content Too Large"])
def test_permission_that_is_refused_is_not_given(front: Front, status: bytes) -> None:
    with front.passing(answering(text(b"no", status=status))) as origin:
        with contextlib.closing(front.caller()) as caller:
            caller.send(EXPECTING)
            said = caller.rest()
        assert said.startswith(b"HTTP/1.1 " + status.split()[0])
        assert said.endswith(b"no")
        gone = "the connection that waits for a body"  # closed in the turn after the client's
        wait_until(lambda: not connections(origin.port), timeout=1.0, what=f"{gone} is closed")


@pytest.mark.alone
def test_an_upstream_that_says_nothing_of_permission_gets_the_body_all_the_same(
    front: Front,
) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        assert peer.body(4) == b"paid"
        peer.send(OK)
        peer.head()

    with front.passing(script), contextlib.closing(front.caller()) as caller:
        begun = time.monotonic()
        caller.send(EXPECTING)
        assert caller.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert PATIENCE * 0.9 < time.monotonic() - begun < PATIENCE + 0.3
        caller.send(b"paid")
        assert caller.answer().body == b"hello"


@pytest.mark.parametrize(
    ("method", "answer", "status", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, "99"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, None),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "0"),
    ],
)
def test_answers_without_a_body_leave_both_connections_as_good_as_they_were(
    front: Front, method: str, answer: bytes, status: int, length: str | None
) -> None:
    with front.passing(answering(answer, answer, answer)) as origin:
        with contextlib.closing(front.caller()) as caller:
            for _ in range(3):
                caller.send(method.encode() + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
                got = caller.answer(method)
                assert (got.status, got.body, got.cut) == (status, b"", False)
                assert got.header("content-length") == length
        assert len(origin.peers) == 1
    assert not [one for one in front.said if one.name.startswith("uvicorn")]


def test_interim_answers_are_no_answers(front: Front) -> None:
    hints = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with front.passing(answering(hints + OK)):
        assert front.ask().body == b"hello"


def test_clients_of_older_days_are_served(front: Front) -> None:
    with front.passing(answering(OK)), contextlib.closing(front.caller()) as caller:
        caller.send(b"GET / HTTP/1.0\r\n\r\n")
        said = caller.rest()
        assert b" 200 " in said
        assert said.endswith(b"\r\n\r\nhello")


def test_bodies_come_as_they_went(front: Front) -> None:
    def script(peer: Peer) -> None:
        for _ in range(3):
            head = peer.head()
            if b"content-length: 0" in head.lower() or b"GET" in head:
                body = b""
            elif b"Transfer-Encoding: chunked" in head:
                body = peer.until(b"0\r\n\r\n")
            else:
                body = peer.body(6)
            peer.send(text(body))
        peer.head()

    with front.passing(script):
        assert front.ask(method="DELETE", body=b"a\0\r\n\xffb").body == b"a\0\r\n\xffb"
        assert front.ask(method="POST", body=b"").body == b""
        with contextlib.closing(front.caller()) as caller:
            caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in b"abc":
                caller.send(b"1\r\n%c\r\n" % piece)
                time.sleep(0.01)
            caller.send(b"0\r\n\r\n")
            assert caller.answer().body == b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"
