"""The README's code runs as it stands, but for the store's address and the cookie on plain HTTP."""

import dataclasses
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from canary_middleware import Assignment, Canary, Reason, Rollout, verbs
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.stores import StateStore, open_store
from tests.scenarios.asgi_client import Browser
from tests.support.clients import Visitor
from tests.support.redis import SharedRedis
from tests.support.servers import Process, free_port, wait_until

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
CONSOLES: list[str] = re.findall(r"```console\n(.*?)```", README.read_text(), re.DOTALL)
SERVERS = {"FastAPI": "uvicorn", "Flask": "gunicorn"}


def console(word: str) -> str:
    """The one console block with this word."""
    (found,) = (text for text in CONSOLES if word in text)
    return found


def block(word: str) -> str:
    """The one block with this word."""
    found = [text for text in BLOCKS if word in text]
    assert len(found) == 1, f"{len(found)} blocks with {word}"
    return found[0]


def adapted(text: str, store: str, namespace: str) -> str:
    """The block with the test's store; each replacement must really happen."""
    for old, new in (
        ("redis://localhost:6379/0", store),
        ('namespace="shop"', f'namespace="{namespace}", secure=False'),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def places(text: str) -> set[str]:
    """The stores that a text names."""
    return set(re.findall(r'store="([^"]+)"', text))


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
@pytest.mark.parametrize("framework", SERVERS)
def test_ten_lines(
    framework: str, kind: str, tmp_path: Path, shared_redis: SharedRedis, namespace: str
) -> None:
    # As the README writes it, relative to where the server runs.
    (file,) = places(README.read_text()) - places("".join(BLOCKS))
    code = adapted(
        block(f"import {framework}"), shared_redis.url if kind == "redis" else file, namespace
    )
    assert len([line for line in code.splitlines() if line.strip()]) <= 17
    (tmp_path / "shop.py").write_text(code)
    port = free_port()
    command = console(SERVERS[framework]).replace("8000", str(port)).split()
    url = file.replace("///", f"///{tmp_path}/") if kind == "sqlite" else shared_redis.url
    store = open_store(url, namespace)
    with Process([sys.executable, "-m", *command], tmp_path / "log", cwd=tmp_path) as process:
        process.wait_port(port)

        def version() -> str:
            with Visitor(port) as visitor:
                answer = visitor.get("/checkout")
            assert answer.status == 200
            assert not answer.all("Set-Cookie")  # at 0 % and at 100 % nobody is drawn
            return str(json.loads(answer.body)["version"])

        assert version() == "1.4.2"
        wait_until(lambda: bool(store.processes()), what="a report of the process")
        verbs.start(store, "checkout", by="test")
        verbs.weight(store, "checkout", 100_000, by="test")
        wait_until(lambda: version() == "1.5.0", what="the canary")
        verbs.kill(store, by="test", why="test")
        wait_until(lambda: version() == "1.4.2", what="stable")
    store.close()


def test_audiences() -> None:
    scope: dict[str, object] = {}
    exec(compile(block("import Audience"), str(README), "exec"), scope)
    canary = scope["canary"]
    assert canary.engine.snapshot.lanes[0].entry.weight == 5000  # type: ignore[attr-defined]  # found by name


@contextmanager
def reporting(store: StateStore, report: ProcessReport) -> Iterator[None]:
    """A process that lives: ten commands may take longer than a report lasts."""
    ended = Event()

    def go_on() -> None:
        while not ended.wait(1.0):
            store.report(report)

    store.report(report)
    thread = Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_the_verbs(tmp_path: Path, shared_redis: SharedRedis, namespace: str) -> None:
    store = open_store(shared_redis.url, namespace)
    plan = Plan("1.4.2", "1.5.0", ("/checkout",))
    report = ProcessReport("p1", "web-1", 1, "asgi", -1, 0.1, {"checkout": plan})
    # The program of this very package, wherever another one may be installed.
    program = tmp_path / "canary"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m canary_middleware.cli "$@"\n')
    program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    where = {"CANARY_STORE": shared_redis.url, "CANARY_NAMESPACE": namespace, "PATH": path}
    with reporting(store, report):
        done = subprocess.run(
            ["sh", "-euxc", console("canary weight checkout 25%")],
            env={**os.environ, **where}, cwd=ROOT, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("+ ")] == []
    actions = [audit.action for audit in store.history(None, 20)]
    assert actions == ["rollback", "promote", "revive", "kill", "weight", "weight", "start"]
    store.close()


def test_two_routers() -> None:
    scope: dict[str, object] = {}
    exec(compile(block("canary_route"), str(README), "exec"), scope)
    rollout = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=["/checkout"])
    for weight, expected in (("0%", "1.4.2"), ("100%", "1.5.0")):
        canary = Canary(rollout, secret_keys=["k" * 32], autostart=weight)
        with Browser(CanaryMiddleware(scope["app"], canary=canary)) as browser:  # type: ignore[arg-type]  # found by name
            assert json.loads(browser.text("/checkout/7"))["version"] == expected


def test_every_module_of_the_integrations_gives_what_its_row_says() -> None:
    text = (ROOT / "integrations" / "README.md").read_text()
    rows = re.findall(r"^\|[^|]*\| `(canary_middleware\.[\w.]+)` \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) >= 8
    for module, gives in rows:
        found = importlib.import_module(module)
        for name, arguments in re.findall(r"`(\w+)(?:\(([^)`]*)\))?`", gives):
            gift = getattr(found, name)
            if arguments:
                inspect.signature(gift).bind(*arguments.split(","))
    calls = re.compile(r"session_subject\([^`]*?\)")
    assert set(calls.findall(README.read_text())) == set(calls.findall(text))


def test_keys_survive_a_copy_into_a_variable() -> None:
    keys = re.findall(r'secret(?:_keys=\[|=)"([^"]+)"', README.read_text())
    assert len(keys) == 5
    for key in keys:
        assert len(key) >= 32
        assert not re.search(r"[\s,]", key)


def anchors(page: Path) -> set[str]:
    """Of its headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = []
    for link, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        target = page.parent / link if link else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            missing.append(f"{link}#{anchor}")
    assert not missing


def test_every_page_is_linked() -> None:
    text = README.read_text()
    assert [page.name for page in DOCS if f"](docs/{page.name})" not in text] == []


def test_the_extras_are_those_of_the_package() -> None:
    listed = re.search(r"Extras: (.*?)\. ", README.read_text(), re.DOTALL)
    assert listed
    told = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", listed[1]))
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told == list(package["optional-dependencies"])


def test_the_page_of_current_names_every_attribute_and_reason() -> None:
    text = (ROOT / "docs" / "current.md").read_text()
    attributes, _, reasons = text.partition("\n## ")
    shown = set(re.findall(r"^\| `(\w+)` \|", attributes, re.MULTILINE))
    assert shown == {field.name for field in dataclasses.fields(Assignment)}
    words = re.findall(r"^\| `(\w+)` \| (?:stable|canary|either) \|", reasons, re.MULTILINE)
    assert words == [reason.value for reason in Reason]


def test_the_example_of_current_runs_outside_of_a_request() -> None:
    text = (ROOT / "docs" / "current.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    scope: dict[str, object] = {"new_price": 2, "old_price": 1}
    exec(compile(example, "current.md", "exec"), scope)
    assert scope["price"] == 1
    assert json.loads(json.dumps(scope["answer"])) == {"version": "", "reason": "no_request"}
