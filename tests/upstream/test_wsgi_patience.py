"""As test_asgi_patience: clients that try an upstream's patience until it gives up."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from canary_middleware.errors import CanaryError
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.upstream.origins import Origin, Peer
from tests.upstream.patience_rig import (
    GIVES_UP,
    breaks,
    breaks_later,
    tires_of_readers,
    tires_of_senders,
)
from tests.upstream.wsgi_rig import ask

QUICK, SLOW = 0.0, 2 * GIVES_UP


class Slowly(io.RawIOBase):
    """A body of ten bytes, of which the second half takes a while."""

    def __init__(self, wait: float) -> None:
        self._waits = [0.0, wait]

    def read(self, _: int = -1) -> bytes:
        if self._waits:
            time.sleep(self._waits.pop(0))
            return b"12345"
        return b""


def posted(origin: Origin, wait: float) -> Any:
    upstream = WsgiUpstream(origin.url)
    more: dict[str, Any] = {"wsgi.input": Slowly(wait), "CONTENT_LENGTH": "10"}
    return ask(upstream, method="POST", **more)


def test_w17_an_upload_that_an_upstream_tires_of_is_the_clients() -> None:
    with Origin(tires_of_senders) as origin:
        assert posted(origin, SLOW).status == "400 Bad Request"


def test_w17_an_answer_that_nobody_takes_is_no_failure() -> None:
    with Origin(tires_of_readers) as origin:
        got = ask(WsgiUpstream(origin.url))
        pieces = iter(got.body)
        next(pieces)
        time.sleep(SLOW)
        with pytest.raises(BrokenPipeError):
            list(pieces)


@pytest.mark.parametrize("script", [breaks, breaks_later])
def test_an_upstream_that_breaks_off_by_itself_fails(script: Callable[[Peer], None]) -> None:
    with Origin(script) as origin:
        got = posted(origin, SLOW)
        if script is breaks:
            assert got.status == "502 Bad Gateway"
        else:
            with pytest.raises(CanaryError):
                got.read()
