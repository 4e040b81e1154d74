"""A post ends in time, whatever the other end does."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware.agent.posting import Poster, PostError, Reply
from tests.support.receiver import Receiver
from tests.support.servers import free_port
from tests.support.tls import issue

SOON, LONG = 0.4, 30.0
"""Limits in seconds: for what never answers, and for what would on a busy machine."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def post(receiver: Receiver, read: int = 0, within: float = LONG) -> Reply:
    return Poster(within)(receiver.url("/hook?x=1"), b'{"a":1}', {"webhook-id": "evt_1"}, read)


def test_what_is_sent_arrives_as_it_is(receiver: Receiver) -> None:
    assert post(receiver) == Reply(200)
    (message,) = receiver.messages
    assert (message.path, message.body, message.id) == ("/hook?x=1", b'{"a":1}', "evt_1")
    assert message.headers["content-type"] == "application/json"
    assert message.headers["host"] == f"127.0.0.1:{receiver.port}"


def test_no_more_of_an_answer_is_read_than_asked_for(receiver: Receiver) -> None:
    receiver.answer = b"x" * 1_000_000
    assert post(receiver, read=10).body == b"x" * 10
    assert post(receiver).body == b""


def test_a_receiver_may_ask_for_time(receiver: Receiver) -> None:
    receiver.mode, receiver.headers = 429, {"Retry-After": "120"}
    assert post(receiver) == Reply(429, retry_after=120.0)
    receiver.headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert post(receiver).retry_after is None


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.mode = "redirect"
    found = post(receiver)
    assert (found.status, found.taken) == (307, False)
    assert [message.path for message in receiver.messages] == ["/hook?x=1"]


@pytest.mark.parametrize(("mode", "why"), [
    ("hang", "no answer within 0.4 s"),
    ("drip", "no answer within 0.4 s"),
    ("close", "no HTTP answer (RemoteDisconnected)"),
])  # fmt: skip
def test_it_ends_in_time_and_says_why(receiver: Receiver, mode: str, why: str) -> None:
    receiver.mode = mode
    before = time.monotonic()
    with pytest.raises(PostError) as caught:
        post(receiver, within=LONG if mode == "close" else SOON)
    assert str(caught.value) == why
    # The drip would go on for half an hour.
    assert time.monotonic() - before < LONG


def test_nobody_there_is_told_without_the_address() -> None:
    with pytest.raises(PostError) as caught:
        Poster(LONG)(f"http://127.0.0.1:{free_port()}/s3cr3t", b"", {}, 0)
    assert str(caught.value) == "connection refused"
    with pytest.raises(PostError) as caught:
        Poster(SOON)("http://nobody.invalid/s3cr3t", b"", {}, 0)
    assert "s3cr3t" not in str(caught.value)


def test_tls_is_checked(receiver: Receiver) -> None:
    with pytest.raises(PostError) as caught:
        Poster(2.0)(receiver.url("/s3cr3t").replace("http:", "https:"), b"", {}, 0)
    assert "s3cr3t" not in str(caught.value)
    assert receiver.messages == []


def test_hints_before_the_answer_are_not_the_answer(receiver: Receiver) -> None:
    receiver.mode, receiver.answer = "early", b'{"allow": true}'
    assert post(receiver, read=100) == Reply(200, b'{"allow": true}')


def test_a_receiver_that_takes_a_body_slowly_over_tls_ends_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out of a socket is for each piece of what is sent, of which there may be many."""
    files = issue(tmp_path, "hooks", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
    body, taken = b"x" * 2**25, 0
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)

        def take() -> None:
            nonlocal taken
            try:
                with context.wrap_socket(listening.accept()[0], server_side=True) as wire:
                    while got := len(wire.recv(65_536)):
                        taken += got
                        time.sleep(0.01)  # seconds for all of it
            except OSError:
                return

        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        with pytest.raises(PostError, match=r"no answer within 0\.4 s"):
            Poster(SOON)(f"https://localhost:{listening.getsockname()[1]}/hook", body, {}, 0)
        taking.join(LONG)
    assert taken < len(body)
