"""S12: what tokens do under real servers, each of which hands a request over in its own way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from canary_middleware.core.model import Cohort
from canary_middleware.core.override import KIND, Override, mint
from canary_middleware.core.token import TokenCodec
from tests.support.clients import NAVIGATION, Response, Visitor
from tests.support.servers import LOCALHOST, Process, free_port
from tests.system.rig import BIN, ROOT

ASGI, WSGI = "tests.system.echo:asgi_app", "tests.system.echo:wsgi_app"
COMMANDS = {
    "uvicorn": f"uvicorn {ASGI} --port PORT --lifespan off",
    "gunicorn": f"gunicorn {WSGI} --bind {LOCALHOST}:PORT",
    "waitress": f"waitress-serve --listen {LOCALHOST}:PORT {WSGI}",
    "hypercorn": f"hypercorn {ASGI} --bind {LOCALHOST}:PORT",
    "granian asgi": f"granian {ASGI} --interface asgi --port PORT",
    "granian wsgi": f"granian {WSGI} --interface wsgi --port PORT",
}
servers = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)


def token(key: bytes = b"k" * 32) -> str:
    now = int(time.time())
    override = Override("checkout", "2", Cohort.CANARY, now, now + 600)
    return mint(TokenCodec([key], "shop", KIND), override)


def carried(text: str) -> Mapping[str, tuple[str, Mapping[str, str]]]:
    """A request in each of the ways."""
    return {
        "header": ("/checkout?a=%20b", {"X-Canary-Override": text, "X-Canary-Explain": "1"}),
        "cookie": ("/checkout?a=%20b", {"Cookie": f"a=1; canary-override-shop={text}; b=2"}),
        "query": (f"/checkout?a=%20b&canary%2Doverride={text}", {}),
        "query elsewhere": (f"/elsewhere?canary-override={text}&a=%20b", {}),
    }


@contextmanager
def served(command: str, ways: str, log: Path) -> Iterator[int]:
    port = free_port()
    server, *rest = command.replace("PORT", str(port)).split()
    env = {"CANARY_OVERRIDES": ways, "PYTHONPATH": str(ROOT)}
    with Process([str(BIN / server), *rest], log, env=env, cwd=ROOT) as process:
        process.wait_port(port)
        yield port


def ask(port: int, way: str, text: str) -> Response:
    path, headers = carried(text)[way]
    with Visitor(port) as visitor:
        return visitor.get(path, NAVIGATION, **headers)


def check(answer: Response, text: str, version: str) -> None:
    assert answer.status == 200
    first, _, seen = answer.text.partition("\n")
    assert first == f"version {version}"
    for trace in (text, text[-43:], "canary-override", "canary%2d", "x-canary", "x_canary"):
        assert trace.lower() not in seen.lower(), "the application saw it"
    assert "a=%20b" in seen, "and everything else"


@servers
def test_a_token_is_honoured_and_never_seen(command: str, tmp_path: Path) -> None:
    good, bad = token(), token(b"x" * 32)
    with served(command, "header cookie query", tmp_path / "log") as port:
        for way in carried(good):
            check(ask(port, way, good), good, "none" if "elsewhere" in way else "2")
            check(ask(port, way, bad), bad, "none" if "elsewhere" in way else "1")
        with Visitor(port) as visitor:
            visitor.get(carried(good)["query elsewhere"][0])
            check(visitor.get("/checkout?a=%20b"), good, "2")


@pytest.mark.parametrize("command", [COMMANDS["uvicorn"], COMMANDS["gunicorn"]])
def test_where_it_is_off_no_token_counts_and_the_check_sees_it(
    command: str, tmp_path: Path
) -> None:
    good = token()
    with served(command, "", tmp_path / "log") as port:
        for way in carried(good):
            answer = ask(port, way, good)
            assert answer.text.startswith(("version 1\n", "version none\n"))
            with pytest.raises(AssertionError, match="the application saw it"):
                check(answer, good, answer.text.split()[1])
