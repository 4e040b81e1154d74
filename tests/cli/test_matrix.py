"""Every verb against every store and every mishap: one clear line, and the documented exit code.

A command that is new needs a row here; see docs/cli.md for what the codes mean.
"""

from __future__ import annotations

import io
import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.cli.failing import REFUSED, UNREACHABLE, USAGE
from canary_middleware.core.command import Command
from canary_middleware.core.drill import Drill, Fault
from canary_middleware.core.model import Memory
from canary_middleware.core.records import Audit
from canary_middleware.core.state import Verb
from tests.cli.conftest import Answer, Shell
from tests.cli.documented import COMMANDS
from tests.cli.totals import plan
from tests.support.redis import SharedRedis
from tests.support.servers import free_port

DONE = 0
KEY = "k" * 32
SECRET = "hunter2"
SOON = 15.0
"""Seconds within which the slowest has given up, on a machine that is busy with all the others."""
ELSEWHERE = {
    "demo": "brings its own store: tests/demo",
    "panel": "serves, whatever the store does: tests/panel",
    "panel token": "needs no store: tests/panel",
    "completion": "needs no store: tests/cli/test_completion.py",
    "alert test": "needs no store: tests/cli/test_alert.py",
}
"""Commands that no store can do anything to."""


@dataclass(frozen=True)
class Row:
    """One command.

    Attributes:
        words: that are typed after it.
        unknown: its exit code for a rollout that nobody knows; ``None`` if it takes none.
        unfit: its exit code after a rollback, where most do not fit.
        before: commands that it needs to succeed.
        make: what else it needs.
        nowhere: its exit code without a store.
        reports: what is wrong is what it prints, on standard output.
    """

    words: tuple[str, ...] = ()
    unknown: int | None = REFUSED
    unfit: int = REFUSED
    before: tuple[tuple[str, ...], ...] = ()
    make: Callable[[Shell], None] | None = None
    nowhere: int = USAGE
    reports: bool = False


def awaits(shell: Shell) -> None:
    store = shell.store()
    document = store.load().document
    assert document is not None
    command = Command(Verb.AWAIT, "checkout", "50% needs an approval", step=0)
    assert verbs.move(store, document, command, by="agent", evidence={}, now=time.time())
    store.close()


def drilled(shell: Shell) -> None:
    store = shell.store()
    verbs.drill(store, "checkout", Drill(Fault.ERROR, 20_000, time.time(), 60), by="test")
    store.close()


def hot_fixed(shell: Shell) -> None:
    shell.declare(replace(DECLARED, stable="1.4.3"), id="p2")


DECLARED = replace(plan(), affinity=Memory.SHARED)
START = ("start", "checkout")
HALF = ("weight", "checkout", "50%")
PROMOTE = ("promote", "checkout", "--anyway")
ROLLBACK = ("rollback", "checkout", "--yes")
ALICE = ("checkout", "--subject", "alice")
ROWS = {
    "status": Row(unknown=None, unfit=DONE),
    "watch": Row(("checkout", "--once"), unfit=DONE, before=(START,)),
    "doctor": Row(unknown=None, unfit=DONE, reports=True),
    "history": Row(("checkout",), unknown=DONE, unfit=DONE, before=(START,)),
    "explain": Row(ALICE, unfit=DONE, before=(START,)),
    "start": Row(("checkout",)),
    "weight": Row(("checkout", "5%"), before=(START,)),
    "pause": Row(("checkout",), before=(START,)),
    "approve": Row(("checkout",), before=(START,), make=awaits),
    "resume": Row(("checkout",), before=(START, ("weight", "checkout", "1%"))),
    "promote": Row(PROMOTE[1:], before=(START,)),
    "rollback": Row(ROLLBACK[1:], before=(START,)),
    "finish": Row(("checkout", "--early", "--yes"), before=(START, PROMOTE)),
    "rebase": Row(("checkout",), before=(START,), make=hot_fixed),
    "kill": Row(("checkout",), unknown=DONE, unfit=DONE, before=(START,)),
    "revive": Row(("checkout", "--yes"), before=(START, ("kill", "checkout"))),
    "simulate": Row(("checkout", "--runs", "2"), unfit=DONE, nowhere=REFUSED),  # needs none
    "drill": Row(("checkout", "--stop"), before=(START, HALF), make=drilled),
    "token": Row(("checkout", "canary", "--for", "2h"), unfit=DONE, before=(START,)),
    "affinity list": Row(("checkout",), unfit=DONE, before=(START,)),
    "affinity count": Row(("checkout",), unfit=DONE, before=(START,)),
    "affinity show": Row(ALICE, unfit=DONE, before=(START,)),
    "affinity revoke": Row(ALICE, unfit=DONE, before=(START,)),
}

WRITES = {
    **{verb: verb for verb in (
        "start", "weight", "pause", "approve", "resume", "promote", "rollback", "finish", "rebase",
        "kill", "revive",
    )},
    "drill": "settle", "affinity revoke": "revoke",
}  # fmt: skip
"""Commands that change something, and the one line of history that each leaves (S18)."""


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory without canary.toml, and the keys of the application."""
    monkeypatch.chdir(tmp_path)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CANARY_STORE", raising=False)


KEYS = {"CANARY_SECRET_KEYS": KEY, "CANARY_BUCKET_SECRET": KEY}


@pytest.fixture
def sqlite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)


def typed(name: str, *, rollout: str = "checkout") -> list[str]:
    words = [rollout if word == "checkout" else word for word in ROWS[name].words]
    return [*name.split(), *words]


def complains(name: str, answer: Answer, code: int) -> None:
    """One line on standard error, nothing else, and no secret."""
    assert answer.code == code, answer
    assert SECRET not in answer.out + answer.err
    if ROWS[name].reports:
        assert (answer.out != "", answer.err) == (True, "")
        return
    assert answer.out == ""
    assert answer.err.startswith("canary: ")
    assert answer.err.count("\n") == 1


def test_every_command_has_a_row() -> None:
    assert ROWS.keys() | ELSEWHERE.keys() == COMMANDS.keys()


def succeeds(shell: Shell, name: str) -> None:
    shell.declare(DECLARED)
    row = ROWS[name]
    for words in row.before:
        assert shell(*words).code == DONE, words
    if row.make:
        row.make(shell)
    before = history(shell)
    answer = shell(*typed(name))
    assert answer.code == DONE, answer
    assert answer.out
    assert answer.err == ""
    new = history(shell)[: len(history(shell)) - len(before)]
    assert history(shell)[len(new) :] == before, "what was written stays as it is"
    assert [line.action for line in new] == ([WRITES[name]] if name in WRITES else [])
    assert all(re.fullmatch(r"\S+@\S+", line.by) for line in new), "who, and from where"


def history(shell: Shell) -> list[Audit]:
    """Newest first."""
    store = shell.store()
    found = verbs.history(store, None, 100)
    store.close()
    return found


@pytest.mark.parametrize("name", ROWS)
def test_on_a_file(sqlite: Shell, name: str) -> None:
    succeeds(sqlite, name)


@pytest.mark.parametrize("name", ROWS)
def test_on_a_redis(canary: Shell, name: str) -> None:
    succeeds(canary, name)


@pytest.mark.parametrize("name", ROWS)
def test_a_rollout_that_nobody_knows(sqlite: Shell, name: str) -> None:
    sqlite.declare(DECLARED)
    sqlite(*START)
    answer = sqlite(*typed(name, rollout="chekout"))
    code = ROWS[name].unknown
    if code == REFUSED:
        complains(name, answer, code)
        assert "chekout" in answer.err
        assert "checkout" in answer.err, "what was meant"
    else:
        assert answer.code == DONE
        assert "did you mean checkout?" in answer.out + answer.err or code is None


@pytest.mark.parametrize("name", ROWS)
def test_a_phase_in_which_it_does_not_fit(sqlite: Shell, name: str) -> None:
    sqlite.declare(DECLARED)
    for words in (START, ROLLBACK):
        assert sqlite(*words).code == DONE
    answer = sqlite(*typed(name))
    if ROWS[name].unfit == REFUSED:
        complains(name, answer, REFUSED)
    else:
        assert answer.code == DONE, answer


@pytest.mark.parametrize("name", ROWS)
def test_no_store_that_could_be_reached(
    capsys: pytest.CaptureFixture[str], shared_redis: SharedRedis, name: str
) -> None:
    port = shared_redis.url.rpartition(":")[2].partition("/")[0]
    stores = {
        "memory://": ROWS[name].nowhere,
        "": ROWS[name].nowhere,
        f"redis://:{SECRET}@127.0.0.1:{free_port()}/0": UNREACHABLE,
        f"redis://nobody:{SECRET}@127.0.0.1:{port}/0": UNREACHABLE,
    }
    for url, code in stores.items():
        complains(name, Shell(url, "shop", capsys)(*typed(name)), code)


class Apart(io.TextIOBase):
    """A stream that keeps apart what each thread writes."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self._written: dict[int, list[str]] = {}

    def write(self, text: str) -> int:
        # Click takes a stream for one of bytes that takes bytes.
        self._written.setdefault(threading.get_ident(), []).append("" + text)
        return len(text)

    def taken(self) -> str:
        """What this thread has written since it last asked."""
        return "".join(self._written.pop(threading.get_ident(), ()))


@pytest.fixture(scope="module")
def hung() -> dict[str, tuple[Answer, float]]:
    """All of them at once, against a store that accepts and never answers."""
    out, err = Apart(), Apart()
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server, ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in KEYS.items():
            patch.setenv(name, value)
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(err))
        where = f"--store=redis://:{SECRET}@127.0.0.1:{server.getsockname()[1]}/0"

        def run(name: str) -> tuple[Answer, float]:
            begun = time.monotonic()
            code = main([*typed(name), where, "--namespace", "shop"])
            return Answer(code, out.taken(), err.taken()), time.monotonic() - begun

        with ThreadPoolExecutor(len(ROWS)) as pool:
            found = dict(zip(ROWS, pool.map(run, ROWS), strict=True))
    return found


@pytest.mark.parametrize("name", ROWS)
def test_a_store_that_accepts_and_never_answers(
    hung: dict[str, tuple[Answer, float]], name: str
) -> None:
    answer, seconds = hung[name]
    complains(name, answer, UNREACHABLE)
    assert seconds < SOON
