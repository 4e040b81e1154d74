"""``canary doctor``: what people read, what scripts get."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.core.facts import Facts
from canary_middleware.doctor.finding import Kind
from tests.cli.conftest import PLAN, Shell
from tests.support.clients import Visitor
from tests.support.servers import Process, free_port, wait_until
from tests.system.rig import ROOT

WELL = Facts(library="0.1.0", signs=("a",), max_staleness=60.0, snapshot=True)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that is no project and has no configuration."""
    monkeypatch.chdir(tmp_path)


def test_people_read_the_worst_first_and_what_to_do(canary: Shell) -> None:
    canary.declare(facts=WELL, revision=1)
    with_start(canary)
    canary.declare(facts=Facts(signs=("b",)), id="p2", pid=4712, revision=-1, staleness=None)
    answer = canary("doctor")
    lines = answer.out.splitlines()
    assert (answer.code, answer.err) == (1, "")
    assert lines[0] == "BAD: something does not work"
    assert lines.index("BAD: something does not work") < lines.index("OK")
    assert "  processes: 1 process cannot confirm the state" in lines
    assert "      - web-1 4712" in lines
    assert "      > see the log of the process: it says once what fails" in lines
    assert lines[-1].startswith(f"namespace {canary.namespace}: 2 bad, ")


def with_start(canary: Shell) -> None:
    store = canary.store()
    verbs.start(store, "checkout", by="me", plan=PLAN, weight=1_000)
    store.close()


def test_scripts_get_one_object_and_a_code(canary: Shell) -> None:
    empty = canary("doctor", "--json")
    assert (empty.code, empty.json["level"]) == (0, "warning")
    assert canary("doctor", "--json", "--strict").code == 1
    assert empty.json.keys() == {"namespace", "level", "findings"}
    for one in empty.json["findings"]:
        assert one.keys() == {"kind", "level", "what", "why", "remedy", "where"}
        assert Kind(one["kind"])
        assert one["level"] in ("ok", "note", "warning", "bad")


def test_rollouts_that_are_over_are_shown_in_the_code(canary: Shell, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pay.py").write_text('\nif current("checkout").is_canary:\n')
    canary.declare(facts=WELL)
    store = canary.store()
    verbs.start(store, "checkout", by="me", plan=PLAN, weight=1_000)
    verbs.rollback(store, "checkout", by="me", why="too slow")
    store.close()
    found = [one for one in canary("doctor", "--json").json["findings"] if one["where"]]
    assert [(one["kind"], one["where"]) for one in found if "rollouts" in one["kind"]] == [
        ("rollouts.abandoned", ["pay.py:2"])
    ]
    (tmp_path / "elsewhere").mkdir()
    assert "pay.py" not in canary("doctor", "--code", str(tmp_path / "elsewhere")).out
    assert canary("doctor", "--code", str(tmp_path / "nowhere")).code == 2


def test_a_configuration_is_told_with_the_place_of_each_mistake(
    canary: Shell, tmp_path: Path
) -> None:
    (tmp_path / "canary.toml").write_text(
        'namespace = "shop"\npoll = "often"\n[rollouts.checkout]\nstable = "1"\ncanary = "1"\n'
    )
    answer = canary("doctor")
    assert answer.code == 1
    assert "configuration: canary.toml:poll" in answer.out
    assert "configuration: canary.toml:rollouts.checkout" in answer.out


def test_local_findings_are_told_where_no_store_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "canary.toml").write_text(
        'namespace = "shop"\nstore = "redis://127.0.0.1:1/0"\nx = 1\n'
    )
    assert main(["doctor"]) == 3
    out = capsys.readouterr().out
    assert "store: the store does not answer" in out
    assert "configuration: canary.toml:x" in out


def test_what_strangers_wrote_moves_no_cursor(canary: Shell) -> None:
    """A host, a reason, a label: whoever reaches the store chooses them."""
    store = canary.store()
    store.kill("*", by="me", why="x" * 499, now=1.0)
    store.close()
    canary.declare(facts=Facts(signs=("a" * 200,), troubles=("y" * 200,)), host="h" * 999)
    for words in (("doctor",), ("doctor", "--json")):
        out = canary(*words).out
        assert all(line.isprintable() for line in out.splitlines())


@pytest.mark.parametrize("url", ["memory://", "nonsense"])
def test_no_store(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--store", url, "--namespace", "shop"]) == 2
    assert "store: store: " in capsys.readouterr().out


def test_an_example_is_well(canary: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "a-key-of-this-test-that-is-long-enough"
    for name, value in {
        "CANARY_STORE": canary.url,
        "CANARY_NAMESPACE": canary.namespace,
        "CANARY_SECRET_KEYS": key,
        "CANARY_SECURE": "false",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    name, port = "examples.fastapi_shop.app:app", free_port()
    command = [sys.executable, "-m", "uvicorn", name, "--port", str(port)]
    with Process(command, tmp_path / "example.log", cwd=ROOT) as process:
        process.wait_port(port, timeout=30)
        with Visitor(port) as visitor:
            for _ in range(3):
                assert visitor.request("GET", "/cart").status == 200
        words = ("start", "checkout", "--weight", "5%")
        wait_until(lambda: canary(*words).code == 0, what="it has declared its rollout")
        answer = canary("doctor", "--strict", "--app", name)
    assert (answer.code, answer.err) == (0, ""), answer.out
    assert f"namespace {canary.namespace}: all is well" in answer.out
    assert "FastAPI > CanaryMiddleware" in answer.out
    assert key not in answer.out
