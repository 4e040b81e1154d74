"""The whole demo, as a process: what it shows, how it exits, what it leaves behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.demo.conftest import ROOT, Demo, StartDemo
from tests.support.servers import free_port, wait_until


def test_stopped_demo_leaves_no_process_behind(start_demo: StartDemo) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    demos = {number: start_demo("demo") for number in numbers}
    for number, demo in demos.items():
        demo.process.wait_log("canary start checkout", 30)
        assert len(demo.left()) > 9
        demo.process.signal(number)
    for number, demo in demos.items():
        code = demo.process.wait(20)
        assert code == (-number if number is signal.SIGKILL else 128 + number)
        wait_until(partial(_gone, demo), timeout=3, what=f"gone: {demo.left()}")


def _gone(demo: Demo) -> bool:
    return demo.left() == []


@pytest.mark.faults
def test_everything_that_is_broken_is_found_out(play_demo: StartDemo) -> None:
    # No guard on charges, no rescue, a checkout deaf to the kill, visitors who drop cookies.
    demo = play_demo(
        "forgetful",
        fastapi="tests.demo.broken:careless_fastapi_shop",
        flask="tests.demo.broken:deaf_flask_shop()",
        patience=14.0,
    )
    assert demo.process.wait(90) == 1
    shown = demo.process.output()
    for lie in (
        r"pay 2.4.0 was not rolled back by orders-charged-twice",
        r"its server had given [1-9]\d* answers; 0 visitors came too late .* [1-9]\d* of them saw",
        r"[1-9]\d* requests given to 1.5.0 after their worker",
        r"[1-9]\d* visitors saw two versions",
        r"[1-9]\d* errors in",
    ):
        assert re.search(rf"^  FAILED  {lie}", shown, re.MULTILINE), shown
    assert "  ok  4 of 4 workers heard of the kill" in shown
    assert "  not everything held" in shown


def test_shop_that_does_not_start_is_shown_with_its_last_words(play_demo: StartDemo) -> None:
    demo = play_demo(flask="tests.demo.broken:failing_flask_shop()")
    assert demo.process.wait(60) == 1
    assert "RuntimeError: the cash desk is on fire" in demo.process.output()
    assert demo.left() == []


def test_store_that_is_not_there_takes_one_line(start_demo: StartDemo) -> None:
    demo = start_demo("demo", "--store", f"redis://127.0.0.1:{free_port()}/0")
    assert demo.process.wait(20) == 3
    *_, line = demo.process.output().splitlines()
    assert line.startswith("canary: cannot use the store:")


def test_store_of_one_process_is_refused(start_demo: StartDemo) -> None:
    demo = start_demo("demo", "--store", "memory://")
    assert demo.process.wait(20) == 2
    assert "memory://" in demo.process.output()


@pytest.mark.parametrize("piece", ["uvicorn", "gunicorn", "httptools", "opentelemetry.sdk"])
def test_missing_piece_takes_one_line_that_names_it(piece: str) -> None:
    hide = f"import sys; sys.modules[{piece!r}] = None; from canary_middleware.cli import main; "
    done = subprocess.run(
        [sys.executable, "-c", hide + "sys.exit(main(['demo']))"],
        cwd=ROOT, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    named = piece.replace(".", "[.-]")
    assert re.fullmatch(rf"canary: {named} is not installed; run: pip install '.*\[demo\]'", line)
