"""Clients that try an upstream's patience until it gives up: that is no failure of its version.

Many servers end an exchange that makes no progress, as gunicorn does with its whole worker.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from websockets.utils import accept_key

from tests.scenarios.facade import facade, outcomes
from tests.support.servers import wait_until
from tests.upstream.asgi_rig import Front
from tests.upstream.origins import Origin, Peer
from tests.upstream.patience_rig import (
    ASK,
    GIVES_UP,
    LARGE,
    UPLOAD,
    breaks,
    breaks_later,
    tires_of_readers,
    tires_of_senders,
)
from tests.upstream.test_asgi_rescue import serving

PIECE = 2**20
SHAKE = b"\r\n".join([
    b"GET / HTTP/1.1", b"Host: shop", b"Upgrade: websocket", b"Connection: Upgrade",
    b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"", b"",
])  # fmt: skip


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_w17_an_upload_that_an_upstream_tires_of_is_the_clients(
    front: Front, expects: bytes
) -> None:
    canary = facade()
    with Origin(tires_of_senders) as origin, serving(front, origin.url, canary):
        caller = front.caller()
        caller.send(UPLOAD % expects)
        if expects:
            caller.until(b"Continue\r\n\r\n")
        caller.send(b"1")
        assert caller.answer().status == 408
        caller.close()
    assert outcomes(canary) == {"canary 4xx": 1}


def test_w17_an_answer_that_nobody_takes_is_no_failure(front: Front) -> None:
    canary = facade()
    with Origin(tires_of_readers) as origin, serving(front, origin.url, canary):
        caller = front.caller()
        caller.send(ASK)
        time.sleep(2 * GIVES_UP)
        while caller.sock.recv(LARGE):
            pass
        caller.close()
        wait_until(lambda: bool(outcomes(canary)), what="the request ends")
    assert outcomes(canary) == {"canary aborted": 1}


def shakes(peer: Peer) -> None:
    found = re.search(b"Sec-WebSocket-Key: (.*)", peer.head())
    if found is None:  # a probe
        return
    key = accept_key(found[1].strip().decode()).encode()
    lines = [b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + key]
    peer.send(b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *lines, b"", b""]))


def cuts(peer: Peer) -> None:
    """Without a close frame, and without a reason."""
    shakes(peer)


def tires_of_listeners(peer: Peer) -> None:
    """As a WebSocket server does whose pings are not answered."""
    shakes(peer)
    peer.sock.settimeout(GIVES_UP)
    message = b"\x82\x7f" + PIECE.to_bytes(8, "big") + bytes(PIECE)
    try:
        peer.sock.sendall(message * (LARGE // PIECE))
    except OSError:
        peer.reset()


@pytest.mark.parametrize(("waits", "ended"), [(2 * GIVES_UP, "1xx"), (0.0, "exception")])
def test_w17_a_websocket_that_nobody_reads_is_no_failure(
    front: Front, waits: float, ended: str
) -> None:
    canary = facade()
    script = tires_of_listeners if waits else cuts
    with Origin(script) as origin, serving(front, origin.url, canary):
        caller = front.caller()
        caller.send(SHAKE)
        caller.until(b"\r\n\r\n")
        time.sleep(waits)
        while b"\x88" not in caller.sock.recv(LARGE)[:1] and not outcomes(canary):
            pass
        caller.close()
        wait_until(lambda: bool(outcomes(canary)), timeout=8, what="the socket ends")
    assert outcomes(canary) == {f"canary {ended}": 1}


@pytest.mark.parametrize("script", [breaks, breaks_later])
def test_an_upstream_that_breaks_off_by_itself_fails(
    front: Front, script: Callable[[Peer], None]
) -> None:
    """Also where its client took its time for the upload before."""
    canary = facade()
    with Origin(script) as origin, serving(front, origin.url, canary):
        caller = front.caller()
        caller.send(UPLOAD % b"" + b"123456789")
        time.sleep(GIVES_UP)
        caller.send(b"0")
        got = caller.answer()
        caller.close()
        assert got.status == 502 or got.cut
    assert outcomes(canary) in ({"canary 5xx": 1}, {"canary exception": 1})
