"""A panel without a server, for tests of what its pages say: asked in the test's own process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser

from starlette.requests import Request
from starlette.testclient import TestClient

from canary_middleware.panel import Person, Role, panel
from canary_middleware.stores import StateStore

OPERATOR = Person("alice", Role.OPERATE)
VIEWER = Person("bob", Role.VIEW)


class Reader:
    """Somebody who reads pages and sends their forms."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def page(self, path: str, status: int = 200) -> str:
        answer = self._client.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    def send(self, path: str, fields: Mapping[str, str], status: int = 303) -> str:
        """A form, by its page; where the browser is led to, or what is said instead."""
        page = self._client.get(path)
        found = re.search(r'name="csrf" value="([^"]+)"', page.text)
        if found is None:
            found = re.search(r'name="csrf" value="([^"]+)"', self._client.get("/kill").text)
        assert found is not None
        hidden = re.search(r'name="if_revision" value="(\d+)"', page.text)
        revision = {"if_revision": hidden[1]} if hidden and page.status_code == 200 else {}
        sent = {"csrf": found[1], **revision, **fields}
        answer = self._client.post(path, data=sent, follow_redirects=False)
        assert answer.status_code == status, answer.text
        return answer.headers.get("location", answer.text)

    def follow(self, path: str, fields: Mapping[str, str]) -> str:
        """A form, and the page that one is led to."""
        where = self.send(path, fields)
        return str(self._client.get(str(self._client.base_url.join(path).join(where))).text)


@contextmanager
def reading(store: StateStore, person: Person = OPERATOR) -> Iterator[Reader]:
    """The panel of a store, as one person sees it."""

    def check(request: Request) -> Person:
        return person

    app = panel(store, namespace="shop", check=check)
    with TestClient(app, base_url="http://testserver") as client:
        yield Reader(client)


class Elements(HTMLParser):
    """Every element of a page in its order, and its visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag in tags]
