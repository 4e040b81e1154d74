"""`watch` on a terminal, elsewhere and for machines; `status` and `promote` of what is measured."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from canary_middleware import measures, verbs
from canary_middleware.core.command import Command
from canary_middleware.core.evidence import evidence_of, sentence
from canary_middleware.core.guards import Guard
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.core.state import Verb
from canary_middleware.stores import StateStore
from tests.cli.conftest import Shell
from tests.cli.terminal import terminal
from tests.cli.totals import plan, present, ship
from tests.support.redis import RedisServer, connect
from tests.support.servers import wait_until

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


@pytest.fixture
def shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """A measured rollout on a file, at 5 %."""
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare(plan(), revision=1)
    assert shell("start", "checkout").code == 0
    return shell


@pytest.fixture
def store(shop: Shell) -> Iterator[StateStore]:
    store = shop.store()
    yield store
    store.close()


def test_it_is_redrawn_in_place_and_the_terminal_is_left_as_it_was(
    shop: Shell, store: StateStore
) -> None:
    ship(store, "a", (40, 1), (800, 8))
    with terminal(shop, "watch", "checkout", "--every", "0.1") as screen:
        screen.shows("checkout  1.4.2 -> 1.5.0  ramping at 5%")
        screen.shows("1.5.0 canary  5%     40        1 (2.5%)")
        ship(store, "b", (21, 0), (404, 4))
        screen.shows("1.5.0 canary  5%     61        1 (1.6%)")
        screen.shows("totals of 2 processes")
        screen.resize(60)
        screen.shows("step 1 of 3  ")
        wait_until(
            lambda: max(map(len, screen.shown.splitlines())) <= 60, what="it fits what is left"
        )
        verbs.rollback(store, "checkout", by="agent web-1", why="rolled back after 61 visitors")
        screen.shows("rollback by agent web-1: rolled")
        assert screen.process.poll() is None
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
    assert screen.sent.count(ENTER) == screen.sent.count(LEAVE) == 1
    last = screen.sent.partition(LEAVE)[2]
    assert "rolled back at 0%" in last
    assert "\x1b[?" not in last


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whoever_ends_it_finds_the_terminal_restored(shop: Shell, number: signal.Signals) -> None:
    with terminal(shop, "watch") as screen:
        screen.shows("ramping at 5%")
        screen.process.send_signal(number)
        assert screen.end() == 128 + number
    assert screen.sent.count(ENTER) == screen.sent.count(LEAVE) == 1


def test_while_it_is_stopped_the_terminal_is_the_shells(shop: Shell) -> None:
    with terminal(shop, "watch", "--every", "0.1") as screen:
        screen.shows("ramping at 5%")
        screen.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: screen.read().endswith(LEAVE), what="it has left the screen")
        screen.process.send_signal(signal.SIGCONT)
        wait_until(lambda: screen.read().count(ENTER) == 2, what="it is back")
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
    assert screen.sent.count(LEAVE) == 2


def test_colours_are_for_terminals_that_want_them(shop: Shell, store: StateStore) -> None:
    verbs.rollback(store, "checkout", by="alice")
    with terminal(shop, "watch", "checkout", "--until-done") as screen:
        assert screen.end() == 1
    assert "\x1b[31m" in screen.sent
    with terminal(shop, "watch", "checkout", "--until-done", NO_COLOR="1") as plain:
        assert plain.end() == 1
    assert "\x1b[31m" not in plain.sent


def test_a_store_that_goes_away_is_told_in_place(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(redis_server.url, namespace, capsys)
    shell.declare(plan())
    shell("start", "checkout")
    with terminal(shell, "watch", "checkout", "--every", "0.1") as screen:
        screen.shows("ramping at 5%")
        redis_server.kill()
        screen.shows("the store does not answer: this was so")
        screen.shows("ramping at 5%")
        redis_server.start()
        screen.shows("checkout: idle, run: canary start checkout")
        assert "the store does not answer" not in screen.shown
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0


def test_what_cannot_be_read_is_told_in_place(canary: Shell) -> None:
    canary.declare(plan())
    canary("start", "checkout")
    with terminal(canary, "watch", "--every", "0.1") as screen, connect(canary.url) as client:
        screen.shows("ramping at 5%")
        client.hset(f"canary:{{{canary.namespace}}}:state", "body", "{")
        screen.shows("what the store holds cannot be read: this was so")


def test_elsewhere_there_is_a_block_whenever_something_happens(
    shop: Shell, store: StateStore, tmp_path: Path
) -> None:
    told = tmp_path / "told.txt"
    with told.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "canary_middleware.cli", "watch", "checkout", "--every", "0.1",
             "--until-done"],
            env=shop.environment(), stdout=out,
        )  # fmt: skip
    try:
        wait_until(lambda: "revision 1 " in told.read_text(), what="the first block")
        ship(store, "a", (40, 1), (800, 8))
        time.sleep(0.5)
        verbs.weight(store, "checkout", 50_000, by="alice")
        wait_until(lambda: "revision 2 " in told.read_text(), what="the second block")
        verbs.promote(store, "checkout", by="alice")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    text = told.read_text()
    assert "\x1b" not in text
    heads = [line.split()[3] for line in text.splitlines() if line.startswith("namespace shop")]
    assert heads == ["1", "2", "3"]
    assert "promoted at 100%" in text


def test_machines_get_one_object_per_look(shop: Shell, store: StateStore) -> None:
    ship(store, "a", (61, 1), (1_204, 9))
    answer = shop("watch", "checkout", "--once", "--json")
    assert (answer.code, answer.out.count("\n")) == (0, 1)
    found = json.loads(answer.out)
    (rollout,) = found["rollouts"]
    measured = rollout["measured"]
    assert (found["trouble"], found["processes"], found["behind"]) == (None, 1, 0)
    assert (rollout["ended"], rollout["trouble"], rollout["last"]["action"]) == (
        False,
        None,
        "start",
    )
    assert (rollout["ramp"]["step"], rollout["ramp"]["then"]) == (1, "50%")
    assert measured["evidence"]["visitors"] == [61, 1_204]
    assert [one["guard"] for one in measured["evidence"]["guards"]] == [
        "errors", "orders-charged-twice",
    ]  # fmt: skip
    canary, stable = measured["versions"]
    assert (canary["version"], canary["share"], canary["requests"], canary["errors"]) == (
        "1.5.0", "5%", 61, 1,
    )  # fmt: skip
    assert stable["p99"] == pytest.approx(0.117, abs=0.001)
    assert stable["observed"] == {"orders-charged-twice": {"requests": 1_204, "above": 0}}


def test_who_waits_for_the_end_gets_its_exit_code(shop: Shell, store: StateStore) -> None:
    verbs.kill(store, by="bob", why="fire")
    answer = shop("watch", "--until-done")
    assert answer.code == 1
    assert "KILLED by bob (fire), it was ramping at 5%" in answer.out
    verbs.revive(store, by="bob")
    verbs.promote(store, "checkout", by="bob")
    assert shop("watch", "--until-done", "--json").code == 0


def test_nobody_waits_for_a_rollout_that_nobody_knows(shop: Shell) -> None:
    answer = shop("watch", "nosuch")
    assert (answer.code, answer.out) == (1, "")
    assert "nosuch: namespace shop knows no such rollout (known are: checkout;" in answer.err


def test_a_store_that_never_answered_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Shell("redis://127.0.0.1:1/0", "shop", capsys)("watch").code == 3
    assert Shell(f"sqlite:///{tmp_path}/gone/x.db", "shop", capsys)("watch").code == 3


def test_status_says_how_far_it_is(shop: Shell, store: StateStore) -> None:
    ship(store, "a", (61, 1), (1_204, 9))
    lines = shop("status").out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("checkout 1.5.0: step 1 of 3, "))
    assert lines[at].endswith(" of 10 min left, then 50%")
    assert lines[at + 1].startswith("  61 canary and 1,204 stable visitors measured; ")
    assert "missing for a promotion: errors: " in lines[at + 1]
    assert re.fullmatch(r"  totals of 1 process, \d+ s old", lines[at + 2])


def test_history_says_why_it_was_rolled_back(shop: Shell, store: StateStore) -> None:
    ship(store, "a", (61, 7), (1_204, 9))
    entry = present(store)
    verdict = measures.read(store, "checkout", entry).verdict
    evidence = evidence_of(verdict, entry, 12.0)
    why = sentence(verdict, entry)
    assert why == (
        "rolled back after 61 canary visitors: "
        "7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2"
    )
    document = store.load().document
    assert document is not None
    command = Command(Verb.ROLLBACK, "checkout", why)
    assert verbs.move(
        store, document, command, by="agent web-1", evidence=evidence, now=time.time()
    )
    lines = shop("history", "checkout").out.splitlines()
    assert lines[0].endswith("UTC  checkout  rollback  1.5.0 ramping 5% -> 1.5.0 rolled_back 0%")
    assert lines[1:4] == [
        f"  revision 2, by agent web-1: {why}",
        "    known then: 61 canary and 1,204 stable visitors, 12 s at 5%",
        "    errors: 7 of 61 visitors failed on 1.5.0, 9 of 1,204 on 1.4.2; worse",
    ]
    newest, oldest = shop("history", "--json").json
    assert newest["evidence"] == evidence
    assert oldest["evidence"] == {}
    assert f"checkout 1.5.0: {why}\n" in shop("status").out
    assert why in " ".join(shop("watch", "--once").out.split())


def test_totals_that_cannot_be_read_are_told(shop: Shell, store: StateStore) -> None:
    ship(store, "a", (61, 1), (1_204, 9))
    assert store.put("checkout", "1.5.0", "b", b"{}")  # type: ignore[attr-defined]
    answer = shop("status")
    assert answer.code == 0
    assert "its totals cannot be read: those of one process do not count (totals" in answer.out


def test_a_promotion_without_evidence_has_to_be_meant(shop: Shell, store: StateStore) -> None:
    ship(store, "a", (61, 1), (1_204, 9))
    doubt = "the evidence does not speak for it yet: missing for a promotion: errors"
    refused = shop("promote", "checkout", "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert doubt in refused.err
    assert refused.err.endswith("(promote it all the same with --anyway)\n")
    with terminal(shop, "promote", "checkout") as screen:
        screen.answers("n\n")
        assert screen.end() == 1
    assert doubt in " ".join(screen.sent.split())
    assert "nothing was changed" in screen.sent
    assert present(store).weight == 5_000
    assert shop("promote", "checkout", "--anyway").code == 0
    assert present(store).weight == 100_000


def test_a_promotion_that_the_evidence_speaks_for_needs_no_anyway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare(plan(Guard.errors(margin=None)))
    shell("start", "checkout")
    store = shell.store()
    ship(store, "a", (61, 0), (1_204, 9))
    assert shell("promote", "checkout", "--yes").code == 0
    store.close()


def test_an_approval_enters_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)
    shell.declare(plan(ramp=Ramp("5%", Step("50%", approval=True), "100%", bake="10m")))
    shell("start", "checkout")
    refused = shell("approve", "checkout")
    assert refused.code == 1
    assert "`approve` does not fit: 1.5.0 is ramping" in refused.err
    store = shell.store()
    document = store.load().document
    assert document is not None
    command = Command(Verb.AWAIT, "checkout", "5% held for 10 min; 50% needs an approval", step=0)
    assert verbs.move(store, document, command, by="agent", evidence={}, now=time.time())
    assert "waits for: canary approve checkout\n" in shell("watch", "--once").out
    assert "then 50% with an approval" in shell("status").out
    assert shell("approve", "checkout").out.startswith("checkout: ramping at 50%: ")
    store.close()
