"""A canary behind HTTP in the WSGI shell: rescue (FAULTS.md, U1), readiness, a kill, a gateway."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from canary_middleware import Canary
from canary_middleware.upstream.wsgi import WsgiUpstream
from canary_middleware.wsgi import CanaryMiddleware
from tests.scenarios.facade import facade, kill, outcomes
from tests.support.servers import free_port, wait_until
from tests.upstream.origins import Origin, answering, text
from tests.upstream.wsgi_rig import QUICK, Got, ask

CANARY = text(b"canary")


def stable(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answers with the body that it got."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"stable ", environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


def said(app: CanaryMiddleware, method: str = "GET", body: bytes = b"") -> tuple[str, bytes]:
    got: Got = ask(app, "/", method, body)  # type: ignore[arg-type]  # an application, as any other
    found = got.read()
    got.close()
    return got.status, found


@contextlib.contextmanager
def site(canary: Canary, url: str, **options: Any) -> Iterator[CanaryMiddleware]:
    upstream = WsgiUpstream(url, **options)
    try:
        yield CanaryMiddleware(stable, canary, {"checkout": upstream})
    finally:
        canary.stop()
        upstream.close()


def opened(app: CanaryMiddleware) -> None:
    """Until the canary has answered its probe."""
    wait_until(lambda: said(app)[1] == b"canary", timeout=5)


@pytest.mark.alone
def test_u1_stable_answers_what_an_unreachable_canary_never_saw() -> None:
    canary = facade()
    with Origin(answering(CANARY)) as origin, site(canary, origin.url, timeouts=QUICK) as app:
        opened(app)
        origin.stop()
        origin.cut()
        begun = time.monotonic()
        for _ in range(10):
            assert said(app) == ("200 OK", b"stable ")
            assert said(app, "POST", b"paid") == ("200 OK", b"stable paid")
        took = (time.monotonic() - begun) / 20
    assert outcomes(canary)["canary rescued"] == 20
    assert took < 0.05
    print(f"\nU1: {1000 * took:.1f} ms a rescue")


def test_what_was_sent_is_not_sent_to_stable_too() -> None:
    canary = facade()
    script = answering(CANARY, text(b"", status=b"500 Oops"), CANARY)
    with Origin(script) as origin, site(canary, origin.url, timeouts=QUICK) as app:
        opened(app)
        assert said(app, "POST", b"paid")[0] == "500 Oops"
        assert said(app)[1] == b"canary"
    assert outcomes(canary)["canary 5xx"] == 1


def test_the_arm_opens_once_the_canary_answers() -> None:
    port, canary = free_port(), facade()
    with site(canary, f"http://127.0.0.1:{port}", timeouts=QUICK) as app:
        assert said(app)[1] == b"stable "
        assert [one[:2] for one in canary.engine.silent()] == [("checkout", "2")]
        server = socket.create_server(("127.0.0.1", port))
        with Origin(answering(*[CANARY] * 9), server):
            opened(app)
            assert canary.engine.silent() == ()
    assert "canary rescued" not in outcomes(canary)


def test_a_killed_canary_gets_nothing() -> None:
    canary = facade()
    with Origin(answering(CANARY)) as origin, site(canary, origin.url, timeouts=QUICK) as app:
        opened(app)
        kill(canary)
        assert said(app, "POST", b"paid") == ("200 OK", b"stable paid")
        assert len(origin.heads) == 1


def test_urls_are_applications_and_stable_may_be_one() -> None:
    canary = facade()
    with Origin(answering(text(b"old"))) as old:
        app = CanaryMiddleware(old.url, canary, {"checkout": f"http://127.0.0.1:{free_port()}"})
        assert isinstance(app.app, WsgiUpstream)
        try:
            assert said(app) == ("200 OK", b"old")
            assert [one[:2] for one in canary.engine.silent()] == [("checkout", "2")]
        finally:
            canary.stop()
            app.app.close()


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://user@host", "http://host/?query"])
def test_a_url_that_is_none_is_refused_where_it_is_written(url: str) -> None:
    with pytest.raises(Exception, match="targets"):
        CanaryMiddleware(stable, facade(), {"checkout": url})


MISSING = """
import sys
sys.modules["httptools"] = None
from canary_middleware import Canary, Rollout
from canary_middleware.{kind} import CanaryMiddleware
canary = Canary(Rollout("checkout", stable="1", canary="2"), secret_keys=["k" * 32])
def wsgi(environ, start_response): ...
async def asgi(scope, receive, send): ...
CanaryMiddleware({kind}, canary, {{"checkout": "http://127.0.0.1:9002"}})
"""


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_without_the_extra_the_error_says_what_to_install(kind: str) -> None:
    command = [sys.executable, "-c", MISSING.format(kind=kind)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    last = answer.stderr.split("ConfigurationError")[-1]
    assert "targets['checkout']" in last
    assert "pip install 'canary-middleware[upstream]'" in last
