"""What the tests of the ASGI upstream share: one server for each module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.upstream.asgi_rig import Front, Uvicorn


@pytest.fixture(scope="module")
def uvicorn_server() -> Iterator[Uvicorn]:
    with Uvicorn() as running:
        yield running


@pytest.fixture
def front(uvicorn_server: Uvicorn) -> Front:
    return uvicorn_server.front
