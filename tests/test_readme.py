"""The README's code runs as it stands, but for the store's address and the cookie on plain HTTP."""

import json
import re
import sys
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.stores import open_store
from tests.support.clients import Visitor
from tests.support.redis import SharedRedis
from tests.support.servers import Process, free_port, wait_until

README = Path(__file__).parent.parent / "README.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
SERVERS = {
    "FastAPI": ["uvicorn", "--port", "{port}", "shop:app"],
    "Flask": ["gunicorn", "--bind", "127.0.0.1:{port}", "shop:app"],
}


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


@pytest.mark.parametrize("framework", SERVERS)
def test_ten_lines(
    framework: str, tmp_path: Path, shared_redis: SharedRedis, namespace: str
) -> None:
    code = adapted(block(f"import {framework}"), shared_redis.url, namespace)
    assert len([line for line in code.splitlines() if line.strip()]) <= 17
    (tmp_path / "shop.py").write_text(code)
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[framework]]
    store = open_store(shared_redis.url, namespace)
    with Process([sys.executable, "-m", *command], tmp_path / "log", cwd=tmp_path) as process:
        process.wait_port(port)

        def version() -> str:
            with Visitor(port) as visitor:
                answer = visitor.get("/checkout")
            assert answer.status == 200
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


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README.read_text())
    missing = [link for link in links if not (README.parent / link).exists()]
    assert not missing
