"""Dangerous verbs ask on a terminal, say whom they hit, and want --yes elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.cli.asking import with_yes
from canary_middleware.core.ramp import Ramp, Step
from canary_middleware.stores import StateStore
from tests.cli.conftest import PLAN, Shell
from tests.cli.terminal import terminal
from tests.cli.totals import plan

NAME = "checkout"
FAR = Ramp("5%", Step("50%", approval=True), "100%", bake="10m")


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)


@pytest.fixture
def store(shell: Shell) -> Iterator[StateStore]:
    store = shell.store()
    yield store
    store.close()


def ramping(shell: Shell) -> None:
    shell.declare(PLAN)
    shell("start", NAME, "--weight", "25%")


def promoted(shell: Shell) -> None:
    ramping(shell)
    shell("promote", NAME, "--yes")


def killed(shell: Shell) -> None:
    ramping(shell)
    shell("kill")


def gated(shell: Shell) -> None:
    shell.declare(plan(ramp=FAR))
    shell("start", NAME, "--weight", "6%")


def taken_back(shell: Shell) -> None:
    ramping(shell)
    shell("rollback", NAME, "--yes", "--why", "orders fail")


DANGEROUS = {
    ("promote", NAME): (ramping, "checkout: everybody gets 1.5.0 (now 25%)"),
    ("rollback", NAME): (
        ramping,
        (
            "checkout: everybody gets 1.4.2 (1.5.0 has 25% now), and 1.5.0 returns only with "
            "`start --again`"
        ),
    ),
    ("finish", NAME, "--early"): (
        promoted,
        "checkout: 1.5.0 stays for everybody, and no rollback to 1.4.2 is possible any more",
    ),
    ("revive",): (
        killed,
        (
            "checkout: paused at 25%: 1.5.0 for 25% of visitors, 1.4.2 for the others\n"
            "the kill of everything in namespace shop is lifted"
        ),
    ),
    ("resume", NAME, "--skip-approval"): (
        gated,
        "checkout: 1.5.0 gets 50% (now 6%) without the approval on the way",
    ),
    ("start", NAME, "--again"): (
        taken_back,
        "checkout: 1% of visitors get 1.5.0 again, which was rolled back: orders fail",
    ),
}
"""Command, what was there before, and the question."""


@pytest.mark.parametrize("words", DANGEROUS, ids=" ".join)
def test_elsewhere_it_wants_a_yes_and_shows_the_command(
    shell: Shell, store: StateStore, words: tuple[str, ...]
) -> None:
    before, _ = DANGEROUS[words]
    before(shell)
    document = store.load().document
    for json in ((), ("--json",)):
        answer = shell.process(*words, *json)
        assert (answer.code, answer.out) == (2, "")
        assert f"say: canary {' '.join([*words, *json])} --yes" in answer.err
        assert answer.err.count("\n") == 1
    assert store.load().document == document
    assert shell.process(*words, "--yes").code == 0


@pytest.mark.parametrize("words", DANGEROUS, ids=" ".join)
def test_on_a_terminal_it_says_whom_it_hits_and_asks(
    shell: Shell, store: StateStore, words: tuple[str, ...]
) -> None:
    before, question = DANGEROUS[words]
    before(shell)
    document = store.load().document
    with terminal(shell, *words, columns=300) as screen:
        screen.answers("n\n")
        assert screen.end() == 1
    assert f"{question}; go on? [y/N] " in screen.sent.replace("\r\n", "\n")
    assert "nothing was changed" in screen.sent
    assert store.load().document == document
    with terminal(shell, *words) as screen:
        screen.answers("y\n")
        assert screen.end() == 0
    assert store.load().document != document


@pytest.mark.parametrize("answer", ["\n", "ye\n", "\x04", "\x03"], ids=["", "ye", "^D", "^C"])
def test_whatever_is_no_yes_changes_nothing(shell: Shell, store: StateStore, answer: str) -> None:
    ramping(shell)
    document = store.load().document
    with terminal(shell, "promote", NAME) as screen:
        screen.answers(answer) if answer != "\x03" else screen.answers("")
        if answer == "\x03":
            screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 1
    assert screen.sent.endswith("canary: checkout: nothing was changed\r\n")
    assert store.load().document == document


def test_what_does_not_fit_is_refused_before_anybody_is_asked(shell: Shell) -> None:
    taken_back(shell)
    for words, said in (
        (("promote", NAME), "1.5.0 is rolled back"),
        (("promote", "chekout"), "namespace shop knows no such rollout"),
        (("revive",), "nothing is killed"),
        (("start", NAME, "--again", "--release", "9"), "declared are: 1.5.0"),
    ):
        with terminal(shell, *words, columns=300) as screen:
            assert screen.end() == 1
        assert said in screen.sent
        assert "[y/N]" not in screen.sent


def test_the_release_that_was_asked_about_is_meant(shell: Shell, store: StateStore) -> None:
    ramping(shell)
    with terminal(shell, "promote", NAME) as screen:
        screen.answers("")
        verbs.rollback(store, NAME, by="somebody else")
        verbs.start(store, NAME, by="somebody else", plan=replace(PLAN, canary="1.6.0"))
        screen.type("y\n")
        assert screen.end() == 1
    document = store.load().document
    assert document is not None
    (entry,) = (one for one in document.rollouts[NAME].entries.values() if one.release == "1.6.0")
    assert entry.weight == 1_000


def test_a_kill_never_asks(shell: Shell) -> None:
    promoted(shell)
    with terminal(shell, "kill") as screen:
        assert screen.end() == 0
    assert "[y/N]" not in screen.sent


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("promote checkout", "canary promote checkout --yes"),
        ("promote checkout --store redis://:pw@x", "canary promote checkout --store ... --yes"),
        ("promote checkout --store=redis://x?password=pw",
         "canary promote checkout --store=... --yes"),
        ("promote --store sqlite:///a.db checkout",
         "canary promote --store sqlite:///a.db checkout --yes"),
        ("promote -- checkout", "canary promote --yes -- checkout"),
        ("promote checkout --why a@b?c", "canary promote checkout --why 'a@b?c' --yes"),
    ],
)  # fmt: skip
def test_the_command_that_is_shown_can_be_typed_and_has_no_password(typed: str, shown: str) -> None:
    assert with_yes(typed.split()) == shown
