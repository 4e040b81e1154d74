"""The whole demo, as a process: what it shows, how it exits, what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.demo.conftest import ROOT, Demo, StartDemo
from tests.support.redis import RedisServer
from tests.support.servers import free_port, wait_until

PROMISES = (
    "checkout 1.5.0 was promoted after",
    "at 5 %:",
    "at 25 %:",
    "at 50 %:",
    "at 100 %:",
    "requests to 1.5.0 until then",
    "pay 2.4.0 was rolled back",
    "0 requests given to 2.4.0 later than a second after that",
    "0 on 2.3.1; every answer was a clean 200",
    "orders charged twice when visitors had seen",
    "search 3.1.0 was rolled back",
    "by spans and metrics; 0 of them saw an error page",
    "when it was rolled back",
    "4 of 4 workers heard of the kill",
    "0 requests given to 1.5.0 after their worker had heard of the kill",
    "last request given to 1.5.0 ended",
    "visitors who came back after it have their version again",
    "0 visitors saw two versions without a change of weight",
    "what visitors saw, spans and metrics agree",
    "0 errors in",
)


def test_demo_keeps_every_promise_and_then_the_store_and_the_commands_that_it_prints(
    play_demo: StartDemo, redis_server: RedisServer
) -> None:
    demo = play_demo(store=redis_server.url, keep=True)
    demo.process.wait_log("Ctrl-C ends it all", 90)
    shown = demo.process.output()
    kept = [line.removeprefix("  ok  ") for line in shown.splitlines() if line.startswith("  ok  ")]
    assert len(kept) == len(PROMISES), shown
    for line, promise in zip(kept, PROMISES, strict=True):
        assert promise in line
    assert "\x1b" not in shown  # plain lines where there is no terminal
    assert "\r" not in shown
    check_summary(shown)
    check_commands(shown, redis_server.url)
    demo.process.signal(signal.SIGINT)
    assert demo.process.wait(20) == 0  # its verdict
    wait_until(lambda: demo.left() == [], timeout=3, what="every process is gone")
    with redis_server.client() as client:
        assert client.keys("*") == []


def check_summary(shown: str) -> None:
    """Who was touched, and by how many everybody counts them."""
    saw, twice, pages, rescued = touched(shown, "pay 2.4.0 +rolled back")
    assert 0 < twice <= saw < 200
    assert (pages, rescued) == (0, 0)
    saw, twice, pages, rescued = touched(shown, "search 3.1.0 +rolled back")
    assert (twice, pages) == (0, 0)
    assert 0 < saw < 200
    assert 0 < rescued < 200
    server = numbers(shown, r"search   http://127\.0\.0\.1:(\d+)  uvicorn, the new search of both")
    assert f"search: the server of 3.1.0, http://127.0.0.1:{server[0]}, is killed" in shown
    assert re.search(
        r"search, [\d.]+ s after its start, [\d.]+ s after its server was killed", shown
    )
    assert touched(shown, "checkout 1.5.0 +promoted")[1:] == [0, 0, 0]
    for version in ("checkout 1.4.2", "checkout 1.5.0", "pay 2.4.0", "search 3.0.8"):
        bodies, spans, *requests = numbers(shown, rf"{version} +(\d.*)")
        assert bodies == spans > 0
        assert len(set(requests)) == 1
    assert re.search(r"pay, [\d.]+ s after its start, by orders-charged-twice: rolled back", shown)


def touched(shown: str, row: str) -> list[int]:
    return numbers(shown, rf"{row} +(\d.*)")


def numbers(shown: str, pattern: str) -> list[int]:
    found = re.search(rf"^  {pattern}$", shown, re.MULTILINE)
    assert found is not None, shown
    return [int(number.replace(",", "")) for number in found[1].split()]


def check_commands(shown: str, url: str) -> None:
    """What is printed for the other terminal works there."""
    variables = dict(re.findall(r"export (CANARY_\w+)=(\S+)", shown))
    variables["CANARY_STORE"] = url
    assert len(re.findall(r"http://127.0.0.1:\d+/checkout", shown)) == 2
    assert "orders charged twice on 2.4.0" in run_canary("history", "pay", **variables)
    assert "checkout" in run_canary("kill", "--why", "a test", **variables)
    run_canary("revive", "--yes", **variables)
    kinds = [
        found["kind"]
        for found in json.loads(run_canary("status", "--json", **variables))["processes"]
    ]
    assert sorted(kinds) == ["asgi", "asgi", "wsgi", "wsgi"]


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
