"""The guides do what they say: each block of quick start and how-to runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clients import Visitor
from tests.support.servers import Process, free_port

DOCS = Path(__file__).parent.parent / "docs"


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    parts = re.split(r"^## (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def blocks(text: str, language: str) -> list[str]:
    found: list[str] = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    return found


# --- the quick start ------------------------------------------------------------------------------

QUICK = sections("quickstart.md")
STEPS = ("Start the release", "Watch it", "Everybody back", "Break it")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with a virtual environment of sorts: the program of this package."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    program = programs / "canary"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m canary_middleware.cli "$@"\n')
    program.chmod(0o755)
    return tmp_path


@contextmanager
def shop(place: Path, framework: str) -> Iterator[int]:
    """The server of the quick start; its port."""
    (code,), (command,) = blocks(QUICK[framework], "python"), blocks(QUICK[framework], "console")
    (place / "shop.py").write_text(code)
    port = free_port()
    parts = command.replace("8000", str(port)).split()
    environment = {"PYTHONPATH": str(DOCS.parent)}
    run = [sys.executable, "-m", *parts]
    with Process(run, place / "log", env=environment, cwd=place) as process:
        process.wait_port(port)
        yield port


def typed(place: Path, port: int, step: str) -> str:
    """What the console blocks of a step print; the panel is for another test."""
    lines = [line for block in blocks(QUICK[step], "console") for line in block.splitlines()]
    script = "\n".join(line for line in lines if not line.startswith("canary panel"))
    environment = {
        **os.environ, "PYTHONPATH": str(DOCS.parent), "CANARY_STORE": "sqlite:///canary.db",
        "CANARY_NAMESPACE": "shop", "PATH": f"{place}/.venv/bin:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-ec", script.replace("8000", str(port))],
        cwd=place, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_quick_start_from_its_first_line_to_a_rollback(place: Path) -> None:
    with shop(place, "FastAPI") as port:
        up_to_the_kill(place, port)
        broken = typed(place, port, STEPS[3])
    assert "DETECTED" in broken
    assert "rollback" in broken.rpartition("begin it again")[2]


@pytest.mark.slow
def test_the_quick_start_with_flask(place: Path) -> None:
    with shop(place, "Flask") as port:
        up_to_the_kill(place, port)


def up_to_the_kill(place: Path, shop: int) -> None:
    started = typed(place, shop, STEPS[0])
    assert '"version":"1.4.2"' in started.replace(" ", "").partition("checkout:")[0]
    counted = [int(count) for count in re.findall(r"^ +(\d+) \{", started, re.MULTILINE)]
    assert sum(counted) == 50
    assert len(counted) == 2, "at 20 % of fifty visitors both versions were seen"
    with Visitor(shop) as visitor:  # with one jar it is one visitor
        assert len({visitor.get("/checkout").text for _ in range(9)}) == 1

    watched = typed(place, shop, STEPS[1])
    assert "TO ROLLBACK" in watched
    assert "1 process reporting" in watched or "2 processes reporting" in watched

    back = typed(place, shop, STEPS[2])
    assert "KILLED everything" in back
    assert '"1.4.2"' in back.partition("KILLED")[2]
    assert "ramping at 20%" in back


# --- how to, for each framework -------------------------------------------------------------------

HOW = sections("frameworks.md")
ASGI = """
import asyncio
from starlette.testclient import TestClient
def ask(app, path, **headers):
    with TestClient(app) as client:
        return client.get(path, headers=headers).json()
"""
WSGI = """
from werkzeug.test import Client
def ask(app, path, **headers):
    return Client(app).get(path, headers=headers).json
"""
DJANGO = """
import sys, types
from django.conf import settings
from django.http import JsonResponse
from django.urls import path
from canary_middleware import current
class User:
    pk, is_authenticated = "alice", True
class Login:
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        request.user = User()
        request.user.is_authenticated = "x-user" in request.headers
        return self.get_response(request)
def checkout(request):
    return JsonResponse({"version": current("checkout").version})
urls = types.ModuleType("urls")
urls.urlpatterns = [path("checkout", checkout)]
login = types.ModuleType("login")
login.Login = Login
sys.modules.update(urls=urls, login=login, settings=types.ModuleType("settings"))
settings.configure(
    SECRET_KEY="x", ROOT_URLCONF="urls", ALLOWED_HOSTS=["*"],
    MIDDLEWARE=["login.Login", "middleware.TellCanary"],
)
"""
BOTH = """
seen = {ask(app, PATH)["version"], ask(app, PATH, **{"x-user": "alice"})["version"]}
assert seen == {"1.4.2", "1.5.0"}, seen
"""


def release(identify: str = "who") -> str:
    """The shared file, on a store that needs no server; nobody but testers is on canary."""
    (text,) = blocks(HOW[""], "python")
    for old, new in (
        ('namespace="shop", store="redis://localhost:6379/0"', 'autostart="0%", secure=False'),
        ("identify=who", f"identify={identify}"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def runs(directory: Path, files: dict[str, str], script: str) -> None:
    for name, text in files.items():
        (directory / f"{name}.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(directory), str(DOCS.parent)])}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:canary_middleware", "-c", script],
        cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("framework", "client", "path"),
    [
        ("FastAPI", ASGI, "/checkout/7"), ("FastAPI", ASGI, "/checkout"),
        ("Starlette", ASGI, "/checkout"), ("Flask", WSGI, "/checkout"),
    ],
)  # fmt: skip
def test_how_to(tmp_path: Path, framework: str, client: str, path: str) -> None:
    (site,) = blocks(HOW[framework], "python")
    script = f"PATH = {path!r}\n{client}\nfrom site_of_mine import app\n{BOTH}"
    runs(tmp_path, {"release": release(), "site_of_mine": site}, script)


TOML = """
autostart = "0%"
secure = false
secret_keys = ["replace-me-by-32-random-bytes-or-more"]
bucket_secret = "another-secret-of-32-bytes-kept-for-good"
[rollouts.checkout]
stable = "1.4.2"
canary = "1.5.0"
paths = ["/checkout"]
[rollouts.checkout.testers]
groups = ["beta"]
"""
SIGNING_IN = """
def text(answer):
    return answer.json() if callable(answer.json) else answer.json
def versions(client):
    yield text(client.get("/checkout"))["version"]
    for user in ("bob", "alice"):
        client.post(f"/sign-in/{user}")
        yield text(client.get("/checkout"))["version"]
"""
CLIENTS = ("from starlette.testclient import TestClient", "from werkzeug.test import Client")


@pytest.mark.parametrize("at", [0, 1])
def test_how_to_read_sessions_and_groups(tmp_path: Path, at: int) -> None:
    site = blocks(HOW["Sessions and groups"], "python")[at]
    (tmp_path / "canary.toml").write_text(TOML)
    kind = CLIENTS[at].split()[-1]
    asked = f"{kind}(app)" if at else f"stack.enter_context({kind}(app))"
    script = f"""
from contextlib import ExitStack
{CLIENTS[at]}
from site_of_mine import app
{SIGNING_IN}
with ExitStack() as stack:
    seen = list(versions({asked}))
assert seen == ["1.4.2", "1.4.2", "1.5.0"], seen
"""
    runs(tmp_path, {"site_of_mine": site}, script)


@pytest.mark.parametrize(("kind", "client"), [("wsgi", WSGI), ("asgi", ASGI)])
def test_how_to_django(tmp_path: Path, kind: str, client: str) -> None:
    texts = {text.split()[1].removesuffix(":"): text for text in blocks(HOW["Django"], "python")}
    (identify,) = re.findall(r"`identify=(.*?)`", HOW["Django"])
    beta = f"lambda request: Visitor(user, ['beta']) if (user := ({identify})(request)) else None"
    files = {
        "release": release(beta),
        "site_of_mine": texts[f"{kind}.py"],
        "middleware": texts["middleware.py"],
    }
    site = "from site_of_mine import application as app"
    script = f"PATH = '/checkout'\n{DJANGO}{client}\n{site}\n{BOTH}"
    runs(tmp_path, files, script)


def test_how_to_test() -> None:
    (text,) = blocks(HOW["Testing"], "python")
    scope: dict[str, object] = {}
    exec(compile(text, "frameworks.md", "exec"), scope)
    weights = {
        name: scope[name].engine.snapshot.lanes[0].entry.weight  # type: ignore[attr-defined]  # found by name
        for name in ("on_canary", "on_stable")
    }
    assert weights == {"on_canary": 100_000, "on_stable": 0}
