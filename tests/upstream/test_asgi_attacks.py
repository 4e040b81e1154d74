"""Hostile clients and origins before the ASGI application on a real server (FAULTS.md, S19-S28)."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
from pathlib import Path

import pytest

from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.settings import Timeouts
from tests.support.servers import free_port
from tests.support.tls import issue
from tests.upstream.asgi_rig import Front
from tests.upstream.origins import Origin, Peer, answering, silent, text

OK = text(b"hello")
QUICK = Timeouts(connect=0.3, start=0.3, idle=0.3, total=1.0)


def test_s20_nothing_that_a_client_sends_chooses_the_upstream(front: Front) -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"elsewhere")

    with Origin(script) as other, front.passing(answering(*[OK] * 9)) as origin:
        there = other.url.encode()
        for target, *lines in [
            (there + b"/a", b"Host: " + there[7:]),
            (b"/a", b"Host: " + there[7:], b"X-Forwarded-Host: " + there[7:]),
            (b"/a", b"Host: a", b"Forwarded: host=" + there[7:]),
            (b"//" + there[7:] + b"/a", b"Host: a"),
            (b"/" + there, b"Host: a"),
            (b"/a?" + there, b"Host: a"),
        ]:
            with contextlib.closing(front.caller()) as caller:
                caller.send(b"\r\n".join([b"GET %b HTTP/1.1" % target, *lines, b"", b""]))
                assert caller.answer().body == b"hello"
        assert not other.peers
        targets = [head.split()[1] for head in origin.heads]
        assert targets[:3] == [b"/a"] * 3
        assert targets[3:] == [b"//" + there[7:] + b"/a", b"/" + there, b"/a?" + there]


def test_s19_redirects_are_the_clients_to_follow(front: Front) -> None:
    with Origin(silent) as other:
        answer = text(b"", f"Location: {other.url}/secret".encode(), status=b"302 Found")
        with front.passing(answering(answer)):
            got = front.ask()
            assert (got.status, got.header("location")) == (302, f"{other.url}/secret")
        assert not other.peers


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: %b\r\n\r\n" % (b"x" * 100_000), 431),
        (b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 65_500), 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400),
        (b"CONNECT /path HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
    ids=lambda value: str(value)[:40],
)
def test_s20_what_cannot_be_passed_on_is_refused(front: Front, sent: bytes, status: int) -> None:
    with front.passing(answering(OK)) as origin:
        with contextlib.closing(front.caller()) as caller:
            caller.send(sent)
            assert caller.answer().status == status
        assert not origin.peers
        assert not front.lines, "none of the upstream's faults"


def test_s28_bodies_are_never_decoded(front: Front) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with front.passing(answering(text(bomb, b"Content-Encoding: gzip"))):
        got = front.ask("/", "GET", None, "Accept-Encoding: gzip")
        assert got.body == bomb
        assert got.header("content-encoding") == "gzip"


def test_s27_error_pages_tell_nothing_of_what_is_behind(front: Front, tmp_path: Path) -> None:
    issued = issue(tmp_path, "wrong", "other.example")
    trusting = ssl.create_default_context(cafile=issued.authority)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(issued.certificate, issued.key)

    def breaking(peer: Peer) -> None:
        peer.head()
        peer.send(b"garbage /secret 127.0.0.1\r\n\r\n")

    def hanging(peer: Peer) -> None:
        peer.head()
        silent(peer)

    def wrap(sock: socket.socket) -> socket.socket:
        return context.wrap_socket(sock, server_side=True)

    pages = {}
    with (
        Origin(breaking) as broken, Origin(hanging) as late,
        Origin(silent, wrap=wrap) as wrong,
    ):  # fmt: skip
        secure = f"https://127.0.0.1:{wrong.port}"
        for name, upstream in {
            "refused": AsgiUpstream(f"http://localhost:{free_port()}/secret"),
            "unknown": AsgiUpstream("http://no-such-host.invalid/secret"),
            "socket": AsgiUpstream("unix:/no/such/secret.sock"),
            "broken": AsgiUpstream(broken.url + "/secret"),
            "late": AsgiUpstream(late.url + "/secret", timeouts=QUICK),
            "name": AsgiUpstream(secure, tls=trusting, timeouts=QUICK),
            "authority": AsgiUpstream(secure, timeouts=QUICK),
            "full": AsgiUpstream(late.url, connections=1, waiting=0, timeouts=QUICK),
        }.items():
            with front.serving(upstream), contextlib.closing(front.caller()) as first:
                if name == "full":
                    first.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
                    first.sock.settimeout(0.1)
                    with contextlib.suppress(TimeoutError):
                        first.sock.recv(1)
                got = front.ask("/private?token=1")
                assert len(front.lines) <= 1
            pages[name] = (got.status, got.body)
            said = " ".join(f"{key}: {value}" for key, value in got.headers) + got.body.decode()
            for secret in (
                "127.0.0.1",
                "localhost",
                "secret",
                "private",
                "Error",
                "canary",
                "asgi",
            ):
                assert secret not in said, name
    statuses = {name: page[0] for name, page in pages.items()}
    assert statuses == {
        "refused": 502, "unknown": 502, "socket": 502, "broken": 502, "late": 504, "name": 502,
        "authority": 502, "full": 503,
    }  # fmt: skip
    assert {page for _, page in pages.values()} == {
        b"Bad Gateway\n", b"Gateway Timeout\n", b"Service Unavailable\n",
    }  # fmt: skip
