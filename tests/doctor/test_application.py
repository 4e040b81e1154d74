"""What is to be seen of an application that is loaded as a server would."""

from __future__ import annotations

import os
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


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server would start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


SMALL = """
from canary_middleware import Canary, Rollout
from canary_middleware.wsgi import CanaryMiddleware

print("an application may print what it likes")
canary = Canary(Rollout("shop", stable="1", canary="2"), secret_keys=["k" * 32], namespace="shop")
app = CanaryMiddleware(lambda environ, start_response: [], canary)
"""


def test_it_is_loaded_in_a_process_of_its_own(at: Path) -> None:
    (at / "small.py").write_text(SMALL)
    seen = inspect("small:app")
    assert (seen.error, seen.stack) == ("", ("CanaryMiddleware", "<lambda>"))
    assert "small" not in sys.modules
    assert "kkk" not in repr(seen)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("import os; os._exit(7)", "ended with 7"),
        ("import time; time.sleep(60)", "longer than 2 s"),
    ],
)
def test_an_application_may_end_or_hang_when_it_is_imported(
    at: Path, text: str, error: str
) -> None:
    (at / "hostile.py").write_text(text)
    assert error in inspect("hostile:app", patience=2.0 if "sleep" in text else 20.0).error


def test_an_application_that_asks_when_it_is_imported_gets_no_terminal(at: Path) -> None:
    (at / "asking.py").write_text("input('password? ')")
    waiting, kept = os.pipe(), os.dup(0)
    os.dup2(waiting[0], 0)  # nobody ever types
    try:
        assert inspect("asking:app").error.startswith("EOFError in ")
    finally:
        os.dup2(kept, 0)
        for one in (*waiting, kept):
            os.close(one)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise SystemExit('no configuration')", "SystemExit in "),
        ("raise ValueError('postgres://shop:password@db')", "raising_1.py:1"),
        ("import nothing_like_that", "No module named 'nothing_like_that'"),
    ],
)
def test_an_error_says_where_and_nothing_that_may_be_secret(
    at: Path, text: str, error: str
) -> None:
    number = 1 if "password" in text else len(text)
    (at / f"raising_{number}.py").write_text(text)
    said = load(f"raising_{number}:app").error
    assert error in said
    assert "password" not in said
