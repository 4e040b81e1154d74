"""``canary drill``: what is refused, what is said, and the ways in which a drill ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canary_middleware import verbs
from canary_middleware.core.codec_totals import encode
from canary_middleware.core.command import Command
from canary_middleware.core.drill import DRILLED
from canary_middleware.core.evidence import evidence_of, sentence
from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.model import Cohort
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.ramp import Course
from canary_middleware.core.state import Entry, Phase, Verb
from canary_middleware.core.totals import Ledgers, Seen
from canary_middleware.core.verdict import Decision, Finding, Share, Verdict
from canary_middleware.stores import StateStore
from canary_middleware.stores.protocol import First
from tests.cli.conftest import PLAN, Shell
from tests.support.servers import wait_until

GUARDS = (*Guard.defaults(), Guard.never("charges"), Guard.rate("orders"))
MEASURED = replace(PLAN, guards=GUARDS)
ERROR = ("drill", "checkout", "--fault", "error", "--yes")
PAGE = (Path(__file__).parents[2] / "docs" / "drill.md").read_text()


@pytest.fixture
def measured(canary: Shell) -> Shell:
    """`checkout` 1.5.0 is paused at 5 % and has guards."""
    canary.declare(MEASURED)
    assert canary("start", "checkout", "--weight", "5%").code == 0
    return canary


def entry_of(store: StateStore) -> Entry:
    document = store.load().document
    assert document is not None
    found = document.entry("checkout", "1.5.0")
    assert found is not None
    return found


def drilled(shell: Shell) -> bool:
    store = shell.store()
    try:
        return entry_of(store).drill is not None
    finally:
        store.close()


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fault", "events", "--metric", "visits"), "no guard looks at visits (observed are: "),
        (("--fault", "events", "--metric", "orders"), "more of orders is better"),
        (("--fault", "latency"), "nobody knows yet how long stable takes"),
        (("--fault", "error", "--release", "9"), "release 9 was never started"),
    ],
)
def test_what_could_prove_nothing_is_refused(
    measured: Shell, arguments: tuple[str, ...], message: str
) -> None:
    answer = measured("drill", "checkout", "--yes", *arguments)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err
    assert not drilled(measured)


def test_where_nobody_or_everybody_is_drawn_it_is_refused(measured: Shell) -> None:
    measured("weight", "checkout", "0%")
    assert "nobody is drawn at 0%" in measured(*ERROR).err
    measured("weight", "checkout", "100%")
    assert "at 100% there is nobody to compare with" in measured(*ERROR).err
    measured("rollback", "checkout", "--yes")
    assert measured(*ERROR).code == 1


def test_what_was_never_started_is_refused(canary: Shell) -> None:
    canary.declare(MEASURED)
    answer = canary(*ERROR)
    assert (answer.code, answer.err.strip()) == (
        1, "canary: checkout: it was never started (start it with `canary start checkout`)",
    )  # fmt: skip
    answer = canary("drill", "chekout", "--fault", "error", "--yes")
    assert "it was never started (known are: checkout)" in answer.err


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, guards=()), "no guard would roll back for error"),
        (replace(PLAN, guards=(Guard.errors(action=Action.WARN),)), "no guard would roll back"),
        (replace(MEASURED, course=Course(observe=True)), "its ramp only observes"),
    ],
    ids=["no guard", "a warning", "observing"],
)
def test_a_release_that_would_not_be_rolled_back_is_refused(
    canary: Shell, plan: Any, message: str
) -> None:
    canary.declare(plan)
    canary("start", "checkout", "--weight", "5%")
    answer = canary(*ERROR)
    assert answer.code == 1
    assert message in answer.err


def test_a_release_that_no_process_serves_is_refused(measured: Shell) -> None:
    store = measured.store()
    store.withdraw("p1")
    store.close()
    assert "no process serves 1.5.0" in measured(*ERROR).err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--fault", "error", "--metric", "charges"),
        ("--fault", "events"),
        ("--fault", "error", "--share", "0%"),
        ("--fault", "error", "--share", "20"),
        ("--fault", "error", "--for", "2h"),
        ("--fault", "latency", "--delay", "2"),
        ("--fault", "latency", "--delay", "90s"),
        ("--fault", "events", "--metric", "charges", "--value", "nan"),
        ("--fault", "events", "--metric", "charges", "--value", "1e400"),
    ],
    ids=" ".join,
)
def test_usage(measured: Shell, arguments: tuple[str, ...]) -> None:
    assert measured("drill", "checkout", "--yes", *arguments).code == 2


def test_nobody_is_hit_without_a_yes(measured: Shell) -> None:
    answer = measured("drill", "checkout", "--fault", "error")
    assert answer.code == 2
    assert "--yes" in answer.err
    assert not drilled(measured)


# --- the ways in which it ends --------------------------------------------------------------------


@contextmanager
def meanwhile(shell: Shell, act: Callable[[StateStore], object]) -> Iterator[None]:
    """What the processes of the application do, once the drill has begun."""
    failed: list[BaseException] = []

    def run() -> None:
        store = shell.store()
        try:
            wait_until(lambda: entry_of(store).drill is not None, what="the drill")
            act(store)
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            store.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert not failed


def ship(store: StateStore, requests: int, visitors: int) -> None:
    """Totals of one process, and whom it met."""
    entry = entry_of(store)
    kinds = [0] * len(OutcomeClass)
    kinds[OutcomeClass.SUCCESS], kinds[OutcomeClass.SERVER_ERROR] = 50, requests
    seen = Seen(kinds, observed={DRILLED: [requests, 0]})
    data = encode(Ledgers(run=entry.run, upto=time.time() + 60, seen={Cohort.CANARY: seen}))
    shipped: Any = store
    assert shipped.put("checkout", "1.5.0", "boot", data)
    events = [First(DRILLED, unit, entry.period, Cohort.CANARY) for unit in range(visitors)]
    shipped.first("checkout", "1.5.0", entry.run, events)


FOUND = Finding(
    "errors", Action.BREACH, "failures", "visitors", Share(30), Share(2),
    log_e=9.0, threshold=4.6, breach=True,
)  # fmt: skip
WORSE = Verdict(Decision.ROLLBACK, proven=False, findings=(FOUND,), visitors=(40, 900))


def roll_back(store: StateStore) -> None:
    """As an agent does it."""
    ship(store, 43, 31)
    document = store.load().document
    assert document is not None
    entry = entry_of(store)
    command = Command(Verb.ROLLBACK, "checkout", sentence(WORSE, entry), release="1.5.0")
    evidence = evidence_of(WORSE, entry, 3.0, drill=entry.drill)
    assert verbs.move(store, document, command, by="agent", evidence=evidence, now=time.time())


def test_a_drill_that_is_found(measured: Shell) -> None:
    with meanwhile(measured, roll_back):
        answer = measured(*ERROR, "--share", "20%", "--for", "60s")
    assert answer.code == 0, answer
    lines = answer.out.splitlines()
    assert lines[0] == (
        "drill of checkout 1.5.0: error in up to 20% of the canary's requests, at 5%: about 1% of "
        "all, for 1m at most"
    )
    assert "expected to see it: errors; then 1.5.0 is rolled back" in lines
    (found,) = (line for line in lines if line.startswith("DETECTED"))
    assert "by guard errors: rolled back after 40 canary visitors" in found
    (hit,) = (line for line in lines if line.startswith("hit:"))
    assert hit.startswith("hit: 43 of 93 canary requests since it began, 31 of ")
    assert hit.endswith(" canary visitors since the start of 1.5.0")
    (arrived,) = (line for line in lines if line.startswith("the totals of the last canary"))
    assert re.search(r"arrived \d\.\d s after the beginning$", arrived)
    assert lines[-1] == "begin it again with: canary start checkout --again"


def test_a_drill_that_is_found_for_machines_and_in_history(measured: Shell) -> None:
    with meanwhile(measured, roll_back):
        answer = measured(*ERROR, "--json", "--why", "game day", "--by", "ann")
    assert answer.code == 0
    told = answer.json
    assert set(told) == set(json.loads(PAGE.partition("```json")[2].partition("```")[0]))
    assert (told["detected"], told["end"], told["guard"]) == (True, "rolled_back", "errors")
    assert (told["requests"], told["visitors"], told["canary_requests"]) == (43, 31, 93)
    assert 0 < told["after"] < 10
    rollback, drill, _ = measured("history", "checkout", "--json").json
    assert (drill["action"], drill["by"]) == ("drill", f"ann (from {socket.gethostname()})")
    assert drill["why"] == "drill: error in 20% of canary requests for 60 s; game day"
    assert rollback["evidence"]["drill"] == "error in 20%"


def settle(store: StateStore) -> None:
    """As the leader does it when the time is over."""
    ship(store, 3, 2)
    time.sleep(1.2)
    verbs.settle(store, "checkout", by="agent")


def test_a_drill_that_is_not_found(measured: Shell) -> None:
    store = measured.store()
    ship(store, 0, 0)  # 50 canary requests before the drill
    store.close()
    with meanwhile(measured, settle):
        answer = measured(*ERROR, "--for", "1s")
    assert answer.code == 1
    assert "NOT DETECTED: 1 s were not enough" in answer.out
    assert "hit: 3 of 3 canary requests since it began, 2 of " in answer.out
    assert answer.out.endswith("the ramp is paused: canary resume checkout\n")


@pytest.mark.parametrize(
    ("act", "end", "words"),
    [
        (lambda store: verbs.kill(store, by="bob"), "killed", "a kill came in between"),
        (lambda store: verbs.rollback(store, "checkout", by="bob"), "by_hand", "a person took it"),
        (lambda store: verbs.settle(store, "checkout", by="bob"), "stopped", "somebody ended"),
    ],
    ids=["kill", "rollback", "settle"],
)
def test_what_else_ends_it_is_no_detection(
    measured: Shell, act: Callable[[StateStore], object], end: str, words: str
) -> None:
    with meanwhile(measured, act):
        answer = measured(*ERROR, "--json")
    assert (answer.code, answer.json["end"], answer.json["detected"]) == (1, end, False)


def test_it_can_be_stopped_from_elsewhere(measured: Shell) -> None:
    assert measured("drill", "checkout", "--stop").code == 1

    def stop(store: StateStore) -> None:
        assert measured.process("drill", "checkout", "--stop").code == 0

    with meanwhile(measured, stop):
        answer = measured(*ERROR, "--json")
    assert answer.json["end"] == "stopped"
    assert not drilled(measured)


@contextmanager
def begun(shell: Shell) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, with the drill under way."""
    command = [sys.executable, "-m", "canary_middleware.cli", *ERROR]
    pipe, env = subprocess.PIPE, shell.environment()
    with subprocess.Popen(command, env=env, stdout=pipe, stderr=pipe, text=True) as running:
        try:
            wait_until(lambda: drilled(shell), what="the drill")
            yield running
        finally:
            running.kill()


def test_ctrl_c_ends_it(measured: Shell) -> None:
    with begun(measured) as running:
        time.sleep(0.3)  # it is anywhere between two looks
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=10)
    assert running.returncode == 130
    assert "the drill is over" in err
    store = measured.store()
    entry = entry_of(store)
    store.close()
    assert (entry.drill, entry.phase) == (None, Phase.PAUSED)


def test_without_its_starter_it_stays_for_the_processes_to_end(measured: Shell) -> None:
    with begun(measured) as running:
        running.kill()
        running.communicate(timeout=10)
    store = measured.store()
    drill = entry_of(store).drill
    store.close()
    assert drill is not None
    assert drill.until > drill.begun, "by which every process ends it"
