"""What is to be seen of an application that is loaded as a server would."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from canary_middleware.cli.inspecting import inspect, load
from canary_middleware.doctor.application import Mounted, check
from canary_middleware.doctor.finding import Kind, Level

FLASK = ("Flask", "FlaskInstrumentor", "CanaryMiddleware")


def kinds(app: Mounted) -> set[Kind]:
    return {one.kind for one in check(app, "shop") if one.level > Level.OK}


@pytest.mark.parametrize(
    ("name", "stack", "instrumented", "found"),
    [
        ("bare", ("FastAPI",), "", {Kind.APPLICATION_BARE}),
        ("fastapi", ("FastAPI", "CanaryMiddleware"), "outside", set()),
        ("Namespace.app", ("FastAPI", "CanaryMiddleware"), "outside", set()),
        (
            "starlette",
            ("Starlette", "CanaryMiddleware", "SessionMiddleware"),
            "",
            {Kind.APPLICATION_ORDER},
        ),
        (
            "inside",
            ("CanaryMiddleware", "OpenTelemetryMiddleware", "plain"),
            "inside",
            {Kind.APPLICATION_SPANS},
        ),
        ("outside", ("OpenTelemetryMiddleware", "CanaryMiddleware", "plain"), "outside", set()),
    ],
)
def test_the_order_of_what_wraps_an_application(
    name: str, stack: tuple[str, ...], instrumented: str, found: set[Kind]
) -> None:
    seen = load(f"tests.doctor.apps:{name}")
    assert (seen.error, seen.stack, seen.instrumented) == ("", stack, instrumented)
    assert kinds(seen) == found


def test_flask_behind_its_instrumentation() -> None:
    seen = load("tests.doctor.apps:flask")
    assert seen.stack[0] == "Flask"
    assert "CanaryMiddleware" in seen.stack
    assert (seen.instrumented, seen.secure, seen.namespace) == ("inside", "False", "shop")
    assert kinds(seen) == {Kind.APPLICATION_SPANS}


def test_what_the_canary_is_made_with() -> None:
    seen = load("tests.doctor.apps:starlette")
    assert (seen.secure, seen.targets, seen.identifies) == ("auto", ("shop",), True)
    assert seen.spans == "annotate"


@pytest.mark.parametrize("name", ["tests.doctor.nothing:app", "tests.doctor.apps:nothing", ":", ""])
def test_what_cannot_be_loaded(name: str) -> None:
    seen = load(name)
    assert seen.error
    assert kinds(seen) == {Kind.APPLICATION_UNLOADED}


def test_it_is_loaded_in_a_process_of_its_own() -> None:
    before = set(sys.modules)
    seen = inspect("tests.doctor.apps:fastapi")
    assert (seen.error, seen.stack) == ("", ("FastAPI", "CanaryMiddleware"))
    assert "tests.doctor.apps" not in set(sys.modules) - before
    assert "long-enough" not in repr(seen)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import os; os._exit(7)", "ended with 7"),
        ("raise SystemExit('no configuration')", "SystemExit: no configuration"),
        ("import time; time.sleep(60)", "longer than 1 s"),
    ],
)
def test_whatever_an_application_does_when_it_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    (tmp_path / "hostile.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    assert error in inspect("hostile:app", patience=1.0 if "sleep" in text else 20.0).error
