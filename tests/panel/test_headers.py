"""Headers that every answer has (S17), and what is never in one: secrets (S18)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Scope

from canary_middleware import verbs
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Plan
from canary_middleware.errors import StoreError
from canary_middleware.panel import Person, Role
from canary_middleware.panel import panel as make_panel
from canary_middleware.stores import Loaded, MemoryStore
from tests.panel.rig import Panel
from tests.support.redis import RedisServer

ALWAYS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def check(answer: Response | object, headers: Sequence[tuple[str, str]]) -> None:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value)
    for name, value in ALWAYS.items():
        assert found.get(name.lower()) == [value], (answer, name)
    assert "permissions-policy" in found
    assert len(found["cache-control"]) == 1


@pytest.mark.parametrize(("path", "status"), [
    ("/", 200), ("/history", 200), ("/sign-in", 200), ("/healthz", 200), ("/kill", 200),
    ("/static/panel.css", 200), ("/static/panel.js", 200), ("/static/none.css", 404),
    ("/static/../app.py", 404), ("/static/%2e%2e/app.py", 404), ("/nothing", 404),
    ("/api/status", 200), ("/api/nothing", 404), ("/api/openapi.json", 200),
    ("/rollouts/nobody-knows", 404), ("/events", 422),
])  # fmt: skip
def test_every_answer_has_them(standing: Panel, path: str, status: int) -> None:
    browser = standing.browser("alice")
    answer = browser.get(path)
    assert answer.status == status
    check(path, answer.headers)
    kept = path.startswith("/static") and status == 200
    assert answer.header("Cache-Control") == ("no-cache" if kept else "no-store")


def test_refusals_and_redirects_have_them_too(standing: Panel) -> None:
    stranger = standing.browser()
    for method, path in (("GET", "/"), ("POST", "/kill"), ("GET", "/api/status"), ("PUT", "/x")):
        answer = stranger.request(method, path)
        assert answer.status in {303, 401}
        check(path, answer.headers)
    with stranger.stream("/events?page=overview") as refused:
        check("events", refused.getheaders())
    with standing.browser("bob").stream("/events?page=overview") as stream:
        assert stream.status == 200
        check("events", stream.getheaders())


class Broken(MemoryStore):
    """A store with a bug, which shows what it was given."""

    def load(self) -> Loaded:
        raise ZeroDivisionError("cnp_secret\nCRITICAL all is well\x1b[2J" + "x" * 10_000)


class Away(MemoryStore):
    """A store that does not answer."""

    def load(self) -> Loaded:
        raise StoreError("refused\nCRITICAL it was me")


@dataclass
class Answer:
    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


async def ask(store: MemoryStore, path: str, name: str = "alice") -> Answer:
    """One request to a panel in this process, by somebody whom the host's check knows."""

    async def check(request: Request) -> Person:
        return Person(name, Role.OPERATE)

    scope: Scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"host", b"x")], "scheme": "http", "root_path": "",
        "client": ("192.0.2.1", 1), "server": ("x", 80), "asgi": {"version": "3.0"},
    }  # fmt: skip
    answer = Answer()

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            raw = message["headers"]
            answer.headers = [(key.decode(), value.decode()) for key, value in raw]
        else:
            answer.body += message.get("body", b"")

    await make_panel(store, namespace="shop", check=check)(scope, receive, send)
    return answer


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/api/status", "/history"])
async def test_a_failure_has_them_and_tells_strangers_nothing(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(Broken(), path) if path != "/history" else await ask(Away(), "/")
    assert answer.status == (503 if path == "/history" else 500)
    check(path, answer.headers)
    assert b"cnp_secret" not in answer.body
    assert b"Traceback" not in answer.body


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_no_line_of_the_log_begins_with_what_somebody_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ask(Broken(), "/api/status", "alice\nCRITICAL forged\x1b[31m")
    text = caplog.text
    assert "ZeroDivisionError" in text
    for line in text.splitlines():
        assert not line.startswith(("CRITICAL", "\x1b")), line
        assert "\x1b" not in line
        assert len(line) < 400


def test_each_write_leaves_one_line_with_name_and_address_and_nothing_is_secret(
    standing: Panel,
) -> None:
    store = standing.store()
    verbs.start(store, "checkout", by="test", plan=Plan("1.4", "1.5", ("/",)))
    browser = standing.browser("alice")
    pages: list[str] = []

    def lines() -> list[Audit]:
        return verbs.history(store, None, 200)

    before = len(lines())
    forms = (
        ("/rollouts/checkout/weight", {"weight": "5%", "why": "a first look"}),
        ("/rollouts/checkout/promote", {"why": "fine"}),
        ("/rollouts/checkout/rollback", {"why": "or not"}),
        ("/kill", {"why": "the night"}),
        ("/revive", {"why": "the morning"}),
    )
    for number, (path, fields) in enumerate(forms, 1):
        pages.append(browser.see(path).text)
        sent = browser.send(path, fields, {"X-Forwarded-For": "198.51.100.9"})
        assert sent.status == 303, sent.text
        found = lines()
        assert len(found) == before + number
        assert found[0].by == "alice (panel, from 198.51.100.9)"
        assert found[0].why == fields["why"]
        assert found[0].action == path.rpartition("/")[2]
    body = json.dumps({"why": "by a program"}).encode()
    kind = {"Content-Type": "application/json"}
    done = standing.bearer("alice", "POST", "/api/kill", body, **kind)
    assert done.status == 200
    assert len(lines()) == before + len(forms) + 1
    assert lines()[0].by == "alice (panel, from 127.0.0.1)"
    standing.bearer("alice", "POST", "/api/revive", body, **kind)
    pages += [browser.see(path).text for path in ("/", "/history", "/rollouts/checkout")]
    pages += [done.text, standing.bearer("alice", "GET", "/api/history").text, standing.log()]
    store.close()
    hidden = [
        *standing.tokens.values(), *browser.cookies.values.values(),
        *(line.split(":")[-1] for line in standing.file.read_text().splitlines()),
    ]  # fmt: skip
    for secret in hidden:
        assert not any(secret in page for page in pages)
    assert not any(str(line).count("cnp_") for line in lines())


def test_the_password_of_the_store_is_nowhere(tmp_path: Path, namespace: str) -> None:
    password = "hunter2hunter2"
    with RedisServer(tmp_path) as server:
        with server.client() as client:
            client.config_set("requirepass", password)
        url = server.url.replace("//", f"//:{password}@")
        with Panel(tmp_path, url, namespace) as panel:
            browser = panel.browser("alice")
            paths = ["/", "/history", "/processes", "/kill", "/api/status", "/api/openapi.json"]
            told = [browser.see(path).text for path in paths]
            server.stop()
            away = [browser.see(path) for path in ("/", "/api/status")]
            assert [one.status for one in away] == [503, 503]
            told += [one.text for one in away] + [panel.log()]
    assert not any(password in text for text in told)
