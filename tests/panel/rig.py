"""The panel under a real uvicorn, with a store that the test has, too, and a token file."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.tokens import mint, written
from canary_middleware.stores import StateStore, open_store
from tests.support.clients import NAVIGATION, SAME_ORIGIN_NAVIGATION, Response, Visitor
from tests.support.servers import Process, free_port

ROOT: Final = Path(__file__).parents[2]
ALICE: Final = "alice"
BOB: Final = "bob"
"""She operates, he views."""


class Browser(Visitor):
    """A visitor that signs in, and sends forms as a browser does."""

    def __init__(
        self, port: int, prefix: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(port, headers=headers)
        self.prefix = prefix

    def see(self, path: str = "/") -> Response:
        """A page."""
        return self.get(self.prefix + path, SAME_ORIGIN_NAVIGATION)

    def csrf(self, path: str = "/") -> str:
        """The token of the forms on a page."""
        found = re.search(r'name="csrf" value="([^"]+)"', self.see(path).text)
        assert found is not None, f"no form on {path}"
        return found[1]

    def send(
        self, path: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Response:
        """A form of the same origin; ``fields`` has everything but the hidden one."""
        return self.post_form(path, {"csrf": self.csrf(), **fields}, headers)

    def post_form(
        self,
        path: str,
        fields: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        fetch: Mapping[str, str] = SAME_ORIGIN_NAVIGATION,
    ) -> Response:
        """Exactly these fields; ``fetch`` is what a browser says about where they come from."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        return self.request(
            "POST", self.prefix + path, body, fetch=fetch, headers={**kind, **(headers or {})}
        )

    def sign_in(self, token: str) -> Response:
        """As a person does: the page, then its form."""
        fields = {"csrf": self.csrf("/sign-in"), "token": token, "next": ""}
        return self.post_form("/sign-in", fields)


class Panel:
    """A panel that runs, ended with the test.

    Args:
        directory: for the token file and the log.
        url: of the store.
        namespace: of the panel.
        tokens: role by name.
        trust: networks of proxies that it believes.

    Attributes:
        url: of its overview.
        tokens: by name.
        file: the token file.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        namespace: str,
        tokens: Mapping[str, Role] | None = None,
        trust: Sequence[str] = (),
    ) -> None:
        roles = tokens or {ALICE: Role.OPERATE, BOB: Role.VIEW}
        self.tokens = {name: mint() for name in roles}
        self.file = directory / "panel.tokens"
        self.file.touch(0o600)
        people = (written(Person(name, roles[name]), self.tokens[name]) for name in roles)
        self.file.write_text("".join(f"{line}\n" for line in people))
        self._stack = ExitStack()
        self.store_url, self.namespace = url, namespace
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "tests.panel.serve"]
        environment = {
            "CANARY_STORE": url, "CANARY_NAMESPACE": namespace, "PANEL_PORT": str(self.port),
            "PANEL_TOKENS": str(self.file), "PANEL_TRUST": " ".join(trust),
        }  # fmt: skip
        self.process = Process(command, directory / "panel.log", env=environment, cwd=ROOT)

    def __enter__(self) -> Self:
        self._stack.enter_context(self.process).wait_port(self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def store(self) -> StateStore:
        """The same store, for the test."""
        return open_store(self.store_url, self.namespace, connect_timeout=2, timeout=2)

    def browser(self, name: str | None = None) -> Browser:
        """A new browser, signed in as somebody."""
        browser = self._stack.enter_context(Browser(self.port))
        if name is not None:
            answer = browser.sign_in(self.tokens[name])
            assert answer.status == 303, answer.text
        return browser

    def bearer(
        self, name: str, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> Response:
        """What a program with somebody's token asks."""
        sent = {"Authorization": f"Bearer {self.tokens[name]}", **headers}
        with Visitor(self.port) as visitor:
            return visitor.request(method, path, body, fetch=NAVIGATION, headers=sent)

    def log(self) -> str:
        """What it has written so far."""
        return self.process.output()
