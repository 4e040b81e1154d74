"""`start --wait`: a pipeline sees every transition, and the end as an exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.core.command import Command
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.state import Phase, Verb
from canary_middleware.stores import StateStore
from tests.cli.conftest import PLAN, Shell
from tests.cli.totals import plan
from tests.support.redis import RedisServer
from tests.support.servers import wait_until

AFTER_START = "checkout: ramping at 1%: 1.5.0 for 1% of visitors, 1.4.2 for the others; revision 1"


@pytest.fixture(params=["redis", "sqlite"])
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Shell:
    """A rollout that somebody declares, in both kinds of store."""
    if request.param == "redis":
        shell: Shell = request.getfixturevalue("canary")
    else:
        shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare()
    return shell


@pytest.fixture
def store(shop: Shell) -> Iterator[StateStore]:
    store = shop.store()
    yield store
    store.close()


class Pipeline:
    """`canary start checkout --wait` in a thread, once it has started."""

    def __init__(self, shell: Shell, store: StateStore, *options: str) -> None:
        where = ("--store", shell.url, "--namespace", shell.namespace)
        self._pool = ThreadPoolExecutor(1)
        self._code: Future[int] = self._pool.submit(
            main, ["start", "checkout", "--wait", *options, *where]
        )
        wait_until(lambda: store.load().document is not None, what="it is started")

    def code(self) -> int:
        code = self._code.result(20)
        self._pool.shutdown()
        return code


def promote(store: StateStore) -> None:
    verbs.weight(store, "checkout", 5_000, by="alice", why="looks fine")
    verbs.promote(store, "checkout", by="alice")


def roll_back(store: StateStore) -> None:
    verbs.rollback(store, "checkout", by="agent web-1", why="rolled back after 43 canary visitors")


def kill_it(store: StateStore) -> None:
    verbs.kill(store, "checkout", by="bob", why="slow")


def kill_everything(store: StateStore) -> None:
    verbs.kill(store, by="bob", why="fire")


@pytest.mark.parametrize(
    ("then", "code", "told"),
    [
        (promote, 0, [
            "weight  1.5.0 ramping 1% -> 1.5.0 paused 5%: looks fine",
            "promote  1.5.0 paused 5% -> 1.5.0 promoted 100%", "checkout 1.5.0: promoted",
        ]),
        (roll_back, 1, [
            ("rollback  1.5.0 ramping 1% -> 1.5.0 rolled_back 0%: "
            "rolled back after 43 canary visitors"),
            "checkout 1.5.0: rolled back",
        ]),
    ],
)  # fmt: skip
def test_the_end_is_an_exit_code(
    shop: Shell,
    store: StateStore,
    capsys: pytest.CaptureFixture[str],
    then: Callable[[StateStore], None],
    code: int,
    told: list[str],
) -> None:
    pipeline = Pipeline(shop, store)
    then(store)
    assert pipeline.code() == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == AFTER_START
    times = [line[:8] for line in lines[1:-1]]
    assert all(time.strptime(each, "%H:%M:%S") for each in times)
    assert [*(line[10:] for line in lines[1:-1]), lines[-1]] == told


@pytest.mark.parametrize("strike", [kill_it, kill_everything])
def test_a_kill_is_no_promotion(
    canary: Shell, capsys: pytest.CaptureFixture[str], strike: Callable[[StateStore], None]
) -> None:
    canary.declare()
    store = canary.store()
    pipeline = Pipeline(canary, store)
    strike(store)
    assert pipeline.code() == 1
    out = capsys.readouterr().out
    assert "  kill  " in out
    assert out.endswith("checkout 1.5.0: killed\n")
    store.close()


def test_machines_get_one_object_per_line(
    canary: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    canary.declare()
    store = canary.store()
    pipeline = Pipeline(canary, store, "--json")
    promote(store)
    assert pipeline.code() == 0
    first, *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["phase"], first["revision"]) == ("ramping", 1)
    assert [line["action"] for line in lines] == ["weight", "promote"]
    assert (last["result"], last["phase"], last["revision"]) == ("promoted", "promoted", 3)
    store.close()


def test_what_waits_for_a_person_says_what_to_type(
    canary: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    ramp = Ramp("5%", Step("50%", approval=True), "100%", bake="10m")
    canary.declare(plan(ramp=ramp))
    store = canary.store()
    pipeline = Pipeline(canary, store)
    document = store.load().document
    assert document is not None
    command = Command(Verb.AWAIT, "checkout", "50% needs an approval", step=0)
    assert verbs.move(store, document, command, by="agent", evidence={}, now=time.time())
    verbs.pause(store, "checkout", by="alice")
    roll_back(store)
    assert pipeline.code() == 1
    lines = capsys.readouterr().out.splitlines()
    at = next(i for i, line in enumerate(lines) if "  await  " in line)
    assert lines[at].endswith("awaiting_approval 5%: 50% needs an approval")
    assert lines[at + 1] == "  waits for: canary approve checkout"
    assert lines[at + 3] == "  waits for: canary resume checkout"
    store.close()


def test_when_the_time_is_over_it_goes_on(canary: Shell) -> None:
    canary.declare()
    answer = canary("start", "checkout", "--wait", "--timeout", "1s")
    assert answer.code == 5
    assert answer.out.splitlines() == [AFTER_START, "checkout 1.5.0: under way"]
    assert answer.err.splitlines() == [
        "canary: nothing moves this release but people: its ramp has no bake",
        "canary: checkout: 1.5.0 is ramping at 1% after 1s; it goes on",
    ]
    store = canary.store()
    document = store.load().document
    assert document is not None
    entry = document.entry("checkout", "1.5.0")
    assert entry is not None
    assert entry.phase is Phase.RAMPING
    store.close()


def test_ctrl_c_leaves_it_running_and_says_so(canary: Shell) -> None:
    canary.declare()
    store = canary.store()
    process = subprocess.Popen(
        [sys.executable, "-m", "canary_middleware.cli", "start", "checkout", "--wait"],
        env=canary.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{AFTER_START}\n"
        # The line is out just before it begins to wait.
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "canary: checkout: 1.5.0 is ramping at 1%, and goes on without this command; "
        "`canary rollback checkout` ends it"
    )
    document = store.load().document
    assert document is not None
    assert document.revision == 1
    store.close()


def test_a_store_that_is_away_is_told_once_and_waited_for(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(redis_server.url, namespace, capsys)
    shell.declare()
    store = shell.store()
    pipeline = Pipeline(shell, store, "--timeout", "20s")
    redis_server.restart(empty=False)
    promote(store)
    assert pipeline.code() == 0
    said = capsys.readouterr()
    assert said.out.endswith("checkout 1.5.0: promoted\n")
    assert said.err.count("does not answer, still waiting") <= 1
    store.close()


def test_a_store_that_stays_away_leaves_the_end_unknown(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(redis_server.url, namespace, capsys)
    shell.declare()
    store = shell.store()
    pipeline = Pipeline(shell, store, "--timeout", "2s")
    redis_server.kill()
    assert pipeline.code() == 3
    err = capsys.readouterr().err
    assert err.count("does not answer, still waiting") == 1
    assert "cannot use the store" in err
    store.close()


def test_what_cannot_be_meant_or_done_is_refused_at_once(canary: Shell) -> None:
    canary.declare(PLAN)
    alone = canary("start", "checkout", "--timeout", "2h")
    assert (alone.code, alone.out) == (2, "")
    assert "--timeout belongs to --wait" in alone.err
    bare = canary("start", "checkout", "--wait", "--timeout", "2")
    assert bare.code == 2
    assert "'2' is not a duration" in bare.err
    assert canary("start", "nosuch", "--wait").code == 1
    assert canary("status", "--json").json["revision"] is None
