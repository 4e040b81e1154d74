"""The WSGI application before real origins: what passes, called as a server would."""

from __future__ import annotations

import gc
import socket
import ssl
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.errors import ConfigurationError
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.support.servers import free_port
from tests.support.tls import issue
from tests.upstream.origins import Origin, Peer, answering, silent, text
from tests.upstream.wsgi_rig import OK, QUICK, ask, chunked, counts, lines


def test_a_request_goes_and_its_answer_comes_as_they_are() -> None:
    answer = text(b"hello", b"X-One: 1", b"x-one: \xe9", b"Connection: x-hop", b"X-Hop: no")
    with Origin(answering(answer)) as origin:
        upstream = WsgiUpstream(origin.url + "/base")
        got = ask(
            upstream, "/a?b=%20&&c", HTTP_X_CASE="v\xe9", HTTP_EXPECT="100-continue",
            HTTP_CONNECTION="keep-alive, x-gone", HTTP_X_GONE="1", HTTP_PROXY="http://me:secret@x",
        )  # fmt: skip
        assert got.status == "200 OK"
        assert got.headers == [("Content-Length", "5"), ("X-One", "1"), ("x-one", "\xe9")]
        assert got.body == [b"hello"], "all that has come at once is one list"
        upstream.close()
        line, *headers = lines(origin.heads[0])
        assert line == b"GET /base/a?b=%20&&c HTTP/1.1"
        assert headers[0] == b"Host: shop.example"
        assert b"X-Case: v\xe9" in headers
        assert b"X-Forwarded-For: 192.0.2.7" in headers
        assert not [h for h in headers if h.split(b":")[0] in {b"Expect", b"X-Gone", b"Proxy"}]


def test_connections_are_used_again() -> None:
    with Origin(answering(*[OK] * 9)) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(9):
            assert ask(upstream).read() == b"hello"
        assert len(origin.peers) == 1
        upstream.close()


def test_readiness_is_a_connection_or_the_answer_to_a_probe() -> None:
    assert "refused" in WsgiUpstream(f"http://127.0.0.1:{free_port()}").silence()
    answers = iter([b"", text(b"", status=b"503 Not Yet"), OK, b"rubbish"])

    def once_each(peer: Peer) -> None:
        if (answer := next(answers)) and peer.head():
            peer.send(answer)

    with Origin(once_each) as origin:
        upstream = WsgiUpstream(origin.url)
        assert upstream.silence() == ""
        upstream.close()
        upstream = WsgiUpstream(origin.url + "/base", probe="/healthz")
        said = [upstream.silence() for _ in range(3)]
        assert said[:2] == ["it said 503", ""]
        assert said[2].startswith("no answer: ")
        assert lines(origin.heads[0])[0] == b"GET /base/healthz HTTP/1.1"
        assert counts(upstream) == (0, 0, 0, 0)
    with pytest.raises(ConfigurationError):
        WsgiUpstream(origin.url, probe="healthz")


def test_an_answer_may_end_with_its_connection() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        for piece in (b"HTTP/1.1 200 OK\r\n\r\n", b"hel", b"lo"):
            peer.send(piece)
            time.sleep(0.02)

    with Origin(script) as origin:
        assert ask(WsgiUpstream(origin.url)).read() == b"hello"


def test_pieces_come_when_they_come() -> None:
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        go_on.wait(5)
        peer.send(b"1\r\nc\r\n1\r\nd\r\n0\r\nX-Trailer: 1\r\n\r\n")
        peer.head()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        came = iter(got.body)
        assert next(came) == b"ab"
        assert counts(upstream) == (1, 0, 0, 0)
        go_on.set()
        assert b"".join(came) == b"cd"
        assert counts(upstream) == (0, 0, 1, 0)
        got.close()
        assert counts(upstream) == (0, 0, 1, 0)
        upstream.close()


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
    ],
)
def test_answers_without_a_body(method: str, head: bytes) -> None:
    with Origin(answering(head, head)) as origin:
        upstream = WsgiUpstream(origin.url)
        for _ in range(2):
            got = ask(upstream, method=method)
            assert got.body == []
            lengths = [value for name, value in got.headers if name == "Content-Length"]
            assert lengths == (["99"] if b"99" in head else [])
        assert len(origin.peers) == 1
        upstream.close()


def test_interim_answers_are_no_answers_and_hints_are_passed_on() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    with Origin(answering(b"HTTP/1.1 102 Processing\r\n\r\n" + hints + OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        assert got.read() == b"hello"
        assert got.hints == [[("Link", "</a.css>")]]
        upstream.close()


def test_a_head_does_not_wait_for_its_body() -> None:
    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"")) as origin:
        got = ask(WsgiUpstream(origin.url))
        assert next(iter(got.body)) == b""
        got.close()


def test_a_client_that_goes_takes_the_connection_along() -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello")
        if peer.receive() == b"":
            gone.set()

    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream)
        assert next(filter(None, got.body)) == b"hello"
        got.close()
        got.close()
        assert gone.wait(1.0)
        assert counts(upstream) == (0, 0, 0, 0)


def test_a_start_that_is_not_wanted_ends_the_exchange() -> None:
    class UnwantedError(Exception):
        pass

    def refuse(*_: object) -> None:
        raise UnwantedError

    with Origin(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhello")) as origin:
        upstream = WsgiUpstream(origin.url)
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
        with pytest.raises(UnwantedError):
            upstream(environ, refuse)
        assert counts(upstream) == (0, 0, 0, 0)


def test_https(tmp_path: Path) -> None:
    made = issue(tmp_path, "upstream", "localhost")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(made.certificate, made.key)

    def wrap(sock: socket.socket) -> socket.socket:
        return served.wrap_socket(sock, server_side=True)

    with Origin(answering(OK, OK), wrap=wrap) as origin:
        url = f"https://localhost:{origin.port}"
        tls = ssl.create_default_context(cafile=str(made.authority))
        upstream = WsgiUpstream(url, tls=tls, preserve_host=False)
        for _ in range(2):
            assert ask(upstream).read() == b"hello"
        assert len(origin.peers) == 1
        assert lines(origin.heads[0])[1] == b"Host: localhost:%d" % origin.port
        upstream.close()
        assert ask(WsgiUpstream(url)).status == "502 Bad Gateway", "nobody knows that authority"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"CONTENT_LENGTH": "5", **chunked()}, "400"),
        ({"CONTENT_LENGTH": "five"}, "400"),
        ({"HTTP_TRANSFER_ENCODING": "gzip, chunked"}, "400"),
        ({"REQUEST_METHOD": "CONNECT"}, "405"),
        ({"REQUEST_METHOD": "GE T"}, "400"),
        ({"HTTP_X_CASE": "\u20ac"}, "400"),
        ({"HTTP_HOST": None}, "400"),
        ({"HTTP_X_LONG": "x" * 65_536}, "431"),
        ({"HTTP_X_CASE": "a\r\nb: c"}, "400"),
        ({"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}, "400"),
    ],
)
def test_what_is_the_clients_mistake_never_reaches_the_upstream(
    more: dict[str, Any], status: str
) -> None:
    with Origin(answering(OK)) as origin:
        got = ask(WsgiUpstream(origin.url), **more)
        assert got.status.startswith(status)
        assert got.read()
        assert not origin.peers


def test_another_upgrade_is_an_offer_that_may_be_passed_over() -> None:
    with Origin(answering(OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        got = ask(upstream, HTTP_UPGRADE="h2c", HTTP_CONNECTION="Upgrade, HTTP2-Settings",
                  HTTP_HTTP2_SETTINGS="AAMAAABkAAQAAP__")  # fmt: skip
        assert got.status == "200 OK"
        assert b"pgrade" not in origin.heads[0]
        upstream.close()


def test_threads_share_few_connections_and_each_gets_its_own_answer() -> None:
    def script(peer: Peer) -> None:
        while head := peer.head():
            peer.send(text(head.split()[1]))

    failures: list[object] = []
    with Origin(script) as origin:
        upstream = WsgiUpstream(origin.url, connections=4)

        def run(name: int) -> None:
            for turn in range(60):
                target = f"/{name}/{turn}"
                got = ask(upstream, target)
                if got.read() != target.encode():
                    failures.append((got.status, target))

        threads = [threading.Thread(target=run, args=(name,)) for name in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert len(origin.peers) <= 4
        busy, opening, idle, waiting = counts(upstream)
        assert (busy, opening, waiting) == (0, 0, 0)
        assert idle == len(origin.peers)
        upstream.close()


def test_who_finds_no_free_connection_waits_for_as_long_as_for_a_connect() -> None:
    with Origin(silent) as origin:
        upstream = WsgiUpstream(origin.url, connections=1, waiting=1, timeouts=QUICK)
        found: list[str] = []

        def run() -> None:
            found.append(ask(upstream).status)

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.05)
        for thread in threads:
            thread.join()
        assert found[0] == "503 Service Unavailable"
        assert sorted(found[1:]) == ["504 Gateway Timeout"] * 2
        assert counts(upstream) == (0, 0, 0, 0)


def test_nothing_is_lent_after_the_close() -> None:
    with Origin(answering(OK)) as origin:
        upstream = WsgiUpstream(origin.url)
        assert ask(upstream).read() == b"hello"
        upstream.close()
        assert counts(upstream) == (0, 0, 0, 0)
        assert ask(upstream).status == "503 Service Unavailable"


def test_nothing_is_left_open() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with Origin(answering(OK, OK)) as origin:
            upstream = WsgiUpstream(origin.url)
            ask(upstream).read()
            upstream.close()
            ask(WsgiUpstream(f"http://127.0.0.1:{free_port()}")).read()
        del upstream
        gc.collect()


def test_an_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        WsgiUpstream("ftp://127.0.0.1/")
