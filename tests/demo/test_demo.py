"""The whole demo, as a process: what it shows, how it exits, what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest

from tests.demo.conftest import ROOT, StartDemo
from tests.support.redis import RedisServer
from tests.support.servers import free_port, wait_until

PROMISES = (
    "what visitors saw, spans and metrics agree",
    "5 %:",
    "25 %:",
    "50 %:",
    "revived:",
    "0 visitors saw two versions without a change of weight",
    "4 of 4 workers heard of the kill",
    "0 requests given to 1.5.0 after their worker had heard of the kill",
    "last request given to 1.5.0 ended",
    "have their version again",
    "0 errors in",
)


def test_demo_keeps_every_promise_and_leaves_nothing_in_a_store_that_it_is_given(
    play_demo: StartDemo, redis_server: RedisServer
) -> None:
    demo = play_demo(store=redis_server.url)
    code = demo.process.wait(60)
    shown = demo.process.output()
    assert code == 0, shown
    kept = [line.removeprefix("  ok  ") for line in shown.splitlines() if line.startswith("  ok  ")]
    assert len(kept) == len(PROMISES), shown
    for line, promise in zip(kept, PROMISES, strict=True):
        assert promise in line
    assert "\x1b" not in shown  # plain lines where there is no terminal
    assert "\r" not in shown
    for bodies, spans in (("visitors, from bodies", "visitors, from spans"),
                          ("requests, from bodies", "requests, from spans")):  # fmt: skip
        assert numbers(shown, bodies) == numbers(shown, spans)
    assert min(numbers(shown, "visitors, from bodies")) > 20
    assert demo.left() == []
    with redis_server.client() as client:
        assert client.keys("*") == []


def numbers(shown: str, row: str) -> list[int]:
    found = re.search(rf"{row} +([\d,]+) +([\d,]+)", shown)
    assert found is not None, shown
    return [int(number.replace(",", "")) for number in found.groups()]


def test_kept_demo_follows_the_commands_that_it_prints_and_ends_with_ctrl_c(
    play_demo: StartDemo,
) -> None:
    demo = play_demo(keep=True)
    demo.process.wait_log("Ctrl-C ends it all", 60)
    shown = demo.process.output()
    assert "  everything held" in shown
    variables = dict(re.findall(r"export (CANARY_\w+)=(\S+)", shown))
    pages = re.findall(r"http://127.0.0.1:\d+/checkout", shown)
    assert len(pages) == 2
    killed = run_canary("kill", "--why", "a test", **variables)
    assert "checkout" in killed
    run_canary("revive", **variables)
    kinds = [
        found["kind"]
        for found in json.loads(run_canary("status", "--json", **variables))["processes"]
    ]
    assert sorted(kinds) == ["asgi", "asgi", "wsgi", "wsgi"]
    demo.process.signal(signal.SIGINT)
    assert demo.process.wait(20) == 0  # its verdict
    wait_until(lambda: demo.left() == [], timeout=3, what="every process is gone")


def run_canary(*arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "canary_middleware.cli", *arguments],
        env=variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_demo_leaves_no_process_behind(
    start_demo: StartDemo, number: signal.Signals
) -> None:
    demo = start_demo("demo")
    demo.process.wait_log("canary start checkout", 30)
    assert len(demo.left()) > 8
    demo.process.signal(number)
    code = demo.process.wait(20)
    assert code == (-number if number is signal.SIGKILL else 128 + number)
    wait_until(lambda: demo.left() == [], timeout=3, what=f"gone: {demo.left()}")


def test_shop_that_ignores_the_kill_is_found_out(play_demo: StartDemo) -> None:
    demo = play_demo(flask="tests.demo.broken:deaf_flask_shop()")
    assert demo.process.wait(60) == 1
    shown = demo.process.output()
    assert re.search(r"FAILED  [1-9]\d* requests given to 1.5.0 after their worker", shown), shown
    assert "  ok  4 of 4 workers heard of the kill" in shown
    assert "  not everything held" in shown


def test_visitors_who_drop_their_cookies_are_found_out(play_demo: StartDemo) -> None:
    # Scenes long enough for visitors who come twice within one, far from any change of weight.
    demo = play_demo("forgetful", seconds=2.0)
    assert demo.process.wait(60) == 1
    shown = demo.process.output()
    assert re.search(r"FAILED  [1-9]\d* visitors saw two versions", shown), shown
    assert "  ok  what visitors saw, spans and metrics agree" in shown


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


@pytest.mark.parametrize("piece", ["uvicorn", "gunicorn", "opentelemetry.sdk", "flask"])
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
