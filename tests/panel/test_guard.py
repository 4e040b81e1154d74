"""The guard and what lets people in, without a server and with clocks that tests turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from canary_middleware.panel import Person, Role
from canary_middleware.panel.access import Admitted, HostAccess, Refused, TokenAccess
from canary_middleware.panel.addresses import Clients
from canary_middleware.panel.bodies import BodiesMiddleware
from canary_middleware.panel.guard import Guard
from canary_middleware.panel.headers import HeadersMiddleware
from canary_middleware.panel.limits import BURST, EVERY
from canary_middleware.panel.sessions import LIFE
from canary_middleware.panel.token_file import TokenFile
from canary_middleware.panel.tokens import Line, mint, written

ALICE = Person("alice", Role.OPERATE)


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def scope(method: str = "GET", path: str = "/api/x", **headers: str) -> Scope:
    raw = [
        (name.lower().replace("_", "-").encode(), text.encode()) for name, text in headers.items()
    ]
    return {
        "type": "http", "method": method, "path": path, "root_path": "", "query_string": b"",
        "headers": raw, "scheme": "http", "client": ("192.0.2.1", 5), "server": ("x", 80),
        "app": Starlette(), "state": {},
    }  # fmt: skip


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    bodies: list[bytes] = field(default_factory=list)
    whole: bool = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.bodies.append(message.get("body", b""))
            self.whole = not message.get("more_body", False)


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass
class House:
    """Access by a token file, and its clocks."""

    token: str
    file: Path
    wall: Clock
    clock: Clock
    access: TokenAccess

    def line(self) -> Line:
        found = self.access.sign_in(self.token, "192.0.2.1")
        assert isinstance(found, Line)
        return found

    def session(self) -> str:
        return self.access.session(self.line(), self.token)

    def admit(self, **headers: str) -> Admitted | Refused:
        return asyncio.run(self.access.admit(scope(**headers), "192.0.2.1"))


@pytest.fixture
def house(tmp_path: Path) -> House:
    token, file = mint(), tmp_path / "t"
    file.write_text(written(ALICE, token))
    file.chmod(0o600)
    wall, clock = Clock(), Clock()
    return House(token, file, wall, clock, TokenAccess(TokenFile(file), "shop", wall, clock))


def test_a_session_ends_after_its_time(house: House) -> None:
    value = house.session()
    cookie = f"{house.access.cookie}={value}"
    assert house.admit(cookie=cookie) == Admitted(ALICE, value)
    house.wall.now += LIFE - 1
    assert house.admit(cookie=cookie) == Admitted(ALICE, value)
    house.wall.now += 1
    assert house.admit(cookie=cookie) == Refused()


def test_a_wrong_token_beside_a_session_is_refused(house: House) -> None:
    cookie = f"{house.access.cookie}={house.session()}"
    assert isinstance(house.admit(cookie=cookie, authorization="Bearer cnp_x"), Refused)
    # What a proxy asks a browser for is not ours to judge.
    assert isinstance(house.admit(cookie=cookie, authorization="Basic YTpi"), Admitted)


def test_wrong_tokens_wait_and_a_right_one_does_not(house: House) -> None:
    wrong = f"Bearer {mint()}"
    waits = [house.admit(authorization=wrong) for _ in range(BURST + 1)]
    assert waits[:BURST] == [Refused()] * BURST
    assert waits[BURST] == Refused(EVERY)
    assert house.admit(authorization=f"bearer  {house.token} ") == Admitted(ALICE, None)
    house.clock.now += EVERY
    assert house.admit(authorization=wrong) == Refused()


def test_a_session_that_is_none_is_no_attempt(house: House) -> None:
    for _ in range(3 * BURST):
        assert house.admit(cookie=f"{house.access.cookie}=made.up.value") == Refused()
    assert house.admit(authorization=f"Bearer {mint()}") == Refused()


def test_wrong_tokens_are_logged_now_and_then_and_never_themselves(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    token = mint()
    with caplog.at_level(logging.INFO):
        for _ in range(1_000):
            house.admit(authorization=f"Bearer {token}")
        house.clock.now += 3_600
        house.admit(authorization=f"Bearer {token}")
    assert 10 < len(caplog.records) < 40
    assert "980 more such lines were left out" in caplog.records[-1].getMessage()
    assert token not in caplog.text


def ask(app: ASGIApp, given: Scope, receive: Receive = nothing) -> Answer:
    answer = Answer()
    asyncio.run(HeadersMiddleware(app)(given, receive, answer.send))
    return answer


def at_once() -> None:
    """Between two pieces."""


def streaming(pieces: int, between: Callable[[], None]) -> ASGIApp:
    async def stream(given: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(pieces):
            between()
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return stream


def test_a_stream_ends_when_its_reader_may_no_longer_read(house: House) -> None:
    seen = 0

    def after_three() -> None:
        nonlocal seen
        seen += 1
        if seen == 4:
            house.file.write_text("# nobody")

    guard = Guard(streaming(10, after_three), house.access, Clients(()), house.clock)
    answer = ask(guard, scope(authorization=f"Bearer {house.token}"))
    assert answer.bodies == [b"x"] * 3 + [b""]
    assert answer.whole


def test_a_stream_ends_in_order_also_inside_of_a_task_group(house: House) -> None:
    inner = streaming(10, lambda: None)

    async def grouped(given: Scope, receive: Receive, send: Send) -> None:
        async def run() -> None:
            await inner(given, receive, send)

        async with asyncio.TaskGroup() as group:
            group.create_task(run())

    guard = Guard(grouped, house.access, Clients(()), house.clock)
    given = scope(authorization=f"Bearer {house.token}")
    assert ask(guard, given).bodies == [b"x"] * 10 + [b""]
    inner = streaming(10, lambda: house.file.unlink(missing_ok=True))
    answer = ask(guard, given)
    assert (answer.bodies, answer.whole) == ([b""], True)


def test_the_host_is_asked_again_every_ten_seconds_of_a_stream() -> None:
    clock, asked = Clock(), 0

    def check(request: Request) -> Person | None:
        nonlocal asked
        asked += 1
        return ALICE if asked < 3 else None

    def wait() -> None:
        clock.now += 4

    guard = Guard(streaming(20, wait), HostAccess(check, "shop"), Clients(()), clock)
    answer = ask(guard, scope())
    # Asked at first, after 12 s and after 24 s, which was the last time.
    assert asked == 3
    assert answer.bodies == [b"x"] * 5 + [b""]


def test_the_check_sees_the_request_and_what_the_application_keeps_of_it() -> None:
    seen: dict[str, Any] = {}

    def check(request: Request) -> Person | None:
        seen.update(user=request.state.user, path=request.url.path, header=request.headers["x-a"])
        return None

    given = {**scope(x_a="b"), "state": {"user": "of the host"}}
    assert (
        ask(Guard(streaming(0, at_once), HostAccess(check, "shop"), Clients(())), given).status
        == 403
    )
    assert seen == {"user": "of the host", "path": "/api/x", "header": "b"}


@pytest.mark.parametrize("found", ["alice", 1, True, object(), {"name": "alice"}])
def test_what_is_no_person_lets_nobody_in(found: Any) -> None:
    access = HostAccess(lambda _: found, "shop")
    with pytest.raises(TypeError, match="no Person"):
        asyncio.run(access.admit(scope(), ""))


@pytest.mark.parametrize("role", ["view", "operate", None])
def test_a_person_without_a_role_of_ours_is_not_let_in_to_look_either(role: Any) -> None:
    access = HostAccess(lambda _: Person("alice", role), "shop")
    with pytest.raises(TypeError, match="whose role is"):
        asyncio.run(access.admit(scope(), ""))


def body(chunks: Mapping[str, Any]) -> Receive:
    messages = iter(chunks["messages"])

    async def receive() -> Message:
        for message in messages:
            return {"type": "http.request", "more_body": True, **message}
        await asyncio.Event().wait()
        raise AssertionError

    return receive


@pytest.mark.parametrize(("messages", "status"), [
    ([{"body": b"a=1"}], 408),
    ([], 408),
    ([{"body": b"x" * 40_000}, {"body": b"x" * 40_000}], 413),
    ([{"body": b"x" * 65_536, "more_body": False}], 200),
    ([{"type": "http.disconnect"}], 0),
])  # fmt: skip
def test_a_body_is_bounded_in_size_and_time(messages: list[Message], status: int) -> None:
    got: list[int] = []

    async def inner(given: Scope, receive: Receive, send: Send) -> None:
        got.append(len((await receive())["body"]))
        assert got == [len(given["state"]["body"])]
        await streaming(0, at_once)(given, receive, send)

    app = BodiesMiddleware(inner, patience=0.05)
    answer = ask(app, scope("POST"), body({"messages": messages}))
    assert answer.status == status
    assert bool(got) is (status == 200)
