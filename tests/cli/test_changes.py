"""Verbs that move a rollout, on a real store: output, refusals, exit codes."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from canary_middleware import __version__
from canary_middleware.cli.app import cli, main
from canary_middleware.core.model import Policy
from canary_middleware.core.state import Plan
from canary_middleware.core.transitions import TABLE
from canary_middleware.core.validate import NAME
from tests.cli.conftest import PLAN, Shell

RELEASE = {
    "release", "stable", "phase", "weight", "owner", "since", "why", "epoch", "period",
    "rollback_until", "policy", "affinity",
}  # fmt: skip


def test_a_rollout_goes_all_the_way(canary: Shell) -> None:
    canary.declare()
    steps = [
        (("start", "checkout"), "ramping at 1%: 1.5.0 for 1% of visitors, 1.4.2 for the others"),
        (
            ("weight", "checkout", "2.5%"),
            "paused at 2.5%: 1.5.0 for 2.5% of visitors, 1.4.2 for the others",
        ),
        (("resume", "checkout"), "ramping at 5%: 1.5.0 for 5% of visitors, 1.4.2 for the others"),
        (("weight", "checkout", "0%"), "paused at 0%: 1.4.2 for everybody, 1.5.0 for testers only"),
        (("promote", "checkout", "--yes"), "promoted at 100%: 1.5.0 for everybody"),
        (("finish", "checkout", "--early", "--yes"), "finished at 100%: 1.5.0 for everybody"),
    ]
    for revision, (words, where) in enumerate(steps, 1):
        answer = canary(*words)
        expected = f"checkout: {where}; revision {revision}\n"
        assert (answer.code, answer.out, answer.err) == (0, expected, "")


OFF = "; `canary rollback checkout` or `canary kill checkout` takes everybody off"
KEPT = "testers and those who have seen it (policy keep), 1.4.2 for the others"
OPEN = "; open sessions stay where they are (policy session)"


@pytest.mark.parametrize(
    ("policy", "lines"),
    [
        (Policy.KEEP, (
            "paused at 5%: 1.5.0 for 5% of visitors, 1.4.2 for the others",
            f"paused at 0%: 1.5.0 for {KEPT}{OFF}",
            f"paused at 1%: 1.5.0 for 1% of visitors{KEPT.removeprefix('testers')}",
            "promoted at 100%: 1.5.0 for everybody",
        )),
        (Policy.SESSION, (
            "paused at 5%: 1.5.0 for 5% of visitors, 1.4.2 for the others",
            f"paused at 0%: 1.5.0 for testers, 1.4.2 for the others{OPEN}{OFF}",
            f"paused at 1%: 1.5.0 for 1% of visitors, 1.4.2 for the others{OPEN}",
            f"promoted at 100%: 1.5.0 for everybody{OPEN}",
        )),
        (Policy.REQUEST, (
            "paused at 5%: 1.5.0 for 5% of requests, 1.4.2 for the others",
            "paused at 0%: 1.4.2 for everybody, 1.5.0 for testers only",
            "paused at 1%: 1.5.0 for 1% of requests, 1.4.2 for the others",
            "promoted at 100%: 1.5.0 for everybody",
        )),
    ],
)  # fmt: skip
def test_the_sentence_says_whom_the_policy_holds(
    canary: Shell, policy: Policy, lines: tuple[str, ...]
) -> None:
    canary.declare(replace(PLAN, policy=policy))
    verbs = (
        ("start", "checkout", "--weight", "5%"), ("weight", "checkout", "0%"),
        ("weight", "checkout", "1%"), ("promote", "checkout", "-y"),
        ("finish", "checkout", "--early", "-y"),
    )  # fmt: skip
    finished = "finished at 100%: 1.5.0 for everybody"
    for revision, (words, line) in enumerate(zip(verbs, (*lines, finished), strict=True), 1):
        assert canary(*words).out == f"checkout: {line}; revision {revision}\n"


def test_a_rollback_takes_everybody_off_under_every_policy(canary: Shell) -> None:
    canary.declare(replace(PLAN, policy=Policy.KEEP))
    for words in (("start", "checkout"), ("weight", "checkout", "0%")):
        canary(*words)
    said = canary("rollback", "checkout", "--yes").out
    assert said == "checkout: rolled back at 0%: 1.4.2 for everybody; revision 3\n"


def test_the_line_about_a_release_behind_the_current_one_is_about_that_one(started: Shell) -> None:
    started("promote", "checkout", "--yes")
    started.declare(replace(PLAN, stable="1.5.0", canary="1.6.0"), id="p2")
    assert started("start", "checkout", "--release", "1.6.0").code == 0
    refused = started("finish", "checkout", "--early", "--yes")
    assert refused.err == (
        "canary: checkout: `finish` does not fit: 1.6.0 is ramping (what is promoted is closed by "
        "`canary finish checkout --release 1.5.0 --early`)\n"
    )
    assert started("rollback", "checkout", "--release", "1.5.0", "--yes").out == (
        "checkout 1.5.0: rolled back at 0%: where that is declared, 1.4.2 for everybody; "
        "current is 1.6.0, which has 1.5.0 as its stable side; revision 4\n"
    )


def test_a_rolled_back_release_starts_again_only_knowingly(started: Shell) -> None:
    assert started("rollback", "checkout", "--yes", "--why", "slow").out.startswith(
        "checkout: rolled back at 0%: 1.4.2 for everybody;"
    )
    refused = started("start", "checkout")
    assert refused.code == 1
    assert "--again" in refused.err
    assert started("start", "checkout", "--again", "--yes").code == 0


def test_a_promoted_release_is_not_finished_while_its_rollback_is_warm(started: Shell) -> None:
    since = started("promote", "checkout", "--yes", "--json").json["since"]
    refused = started("finish", "checkout", "--yes")
    assert refused.code == 1
    assert refused.err == (
        "canary: checkout: the rollback window of 1.5.0 is open for another 1h (`canary rollback "
        "checkout` takes it back, `canary finish checkout --early` closes it)\n"
    )
    assert "checkout: 1.5.0 is promoted, a rollback is warm until 20" in started("status").out
    shape = started("status", "--json").json["rollouts"][0]["current"]
    assert shape["rollback_until"] == since + 3600
    assert "finished" in started("finish", "checkout", "--early", "--yes").out
    assert "is warm" not in started("status").out


def test_a_hot_fix_is_taken_over(started: Shell) -> None:
    started.declare(replace(PLAN, stable="1.4.3"))
    command = "canary rebase checkout --stable 1.4.3"
    assert f"  to put the new stable label in force: {command}\n" in started("status").out
    answer = started(*command.split()[1:], "--why", "hot-fix")
    assert answer.out == (
        "checkout: paused at 5%: 1.5.0 for 5% of visitors, 1.4.3 for the others; revision 2\n"
    )
    assert "in force" not in started("status").out


def test_each_change_has_one_shape_for_machines(started: Shell) -> None:
    shape = started("weight", "checkout", "7%", "--json", "--why", "by hand").json
    assert shape.keys() == {"rollout", "revision", *RELEASE}
    assert (shape["rollout"], shape["phase"], shape["weight"]) == ("checkout", "paused", "7%")
    assert (shape["revision"], shape["why"], shape["owner"]) == (2, "by hand", "pay@example.com")


def test_who_and_why_stand_in_history_newest_first(started: Shell) -> None:
    who = f"alice@desk (from {socket.gethostname()})"
    started("weight", "checkout", "7%", "--by", "alice@desk", "--why", "looks fine")
    text = started("history").out
    assert text.index("1.5.0 paused 7%") < text.index("start  idle")
    assert f"by {who}: looks fine" in text
    newest, oldest = started("history", "checkout", "--json").json
    assert (newest["by"], newest["why"], newest["action"]) == (who, "looks fine", "weight")
    assert (oldest["action"], oldest["old"], oldest["new"]) == ("start", "idle", "1.5.0 paused 5%")
    assert newest.keys() == {
        "at", "by", "action", "scope", "old", "new", "why", "revision", "evidence",
    }  # fmt: skip
    assert newest["evidence"] == {}
    assert len(started("history", "--limit", "1", "--json").json) == 1
    assert started("history", "other").out == "no history of other\n"
    near = "no history of chekout; did you mean checkout?\n"
    assert started("history", "chekout").out == near


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("pause", "checkout"), "1.5.0 is paused"),
        (("finish", "checkout", "--yes"), "1.5.0 is paused"),
        (("start", "checkout"), "1.5.0 is paused"),
        (("start", "checkout", "--weight", "9%"), "`canary weight checkout 9%`"),
        (("weight", "nosuch", "5%"), "knows no such rollout (known are: checkout;"),
        (("start", "nosuch"), "knows no such rollout (known are: checkout;"),
        (("start", "checkout", "--release", "9"), "declared are: 1.5.0"),
        (("weight", "checkout", "5%", "--release", "9"), "never started"),
        (("revive", "--yes"), "nothing is killed"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    started: Shell, words: tuple[str, ...], reason: str
) -> None:
    before = started("history", "--json").json
    answer = started(*words)
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert reason in answer.err
    assert started("history", "--json").json == before


def test_several_declared_releases_need_a_choice(canary: Shell) -> None:
    canary.declare()
    canary.declare(Plan("1.4.2", "1.6.0"), id="p2")
    assert canary("start", "checkout").code == 1
    assert "1.6.0 for testers" in canary("start", "checkout", "--release", "1.6.0").out


def test_a_rollout_that_nobody_knows_is_told_from_one_that_nobody_started(canary: Shell) -> None:
    empty = canary("weight", "checkout", "5%")
    assert (empty.code, empty.err.count("\n")) == (1, 1)
    assert "nothing is known there: start an application" in empty.err
    assert "; a WSGI worker reports after its first request)" in empty.err
    canary.declare()
    idle = canary("weight", "checkout", "5%")
    assert idle.err == (
        "canary: checkout: `weight` does not fit: it is idle "
        "(begin it with `canary start checkout --weight 5%`)\n"
    )
    typo = canary("weight", "chekout", "5%")
    assert "known are: checkout; a new one needs a process that declares it" in typo.err


@pytest.mark.parametrize(
    ("share", "readings"),
    [("0.05", '"5%" for the fraction, or "0.05%"'), (".5", '"50%" for the fraction, or ".5%"')],
)
def test_a_fraction_is_asked_back_with_both_readings(
    started: Shell, share: str, readings: str
) -> None:
    answer = started("weight", "checkout", share)
    assert answer.code == 2
    assert f"'{share}' has no percent sign; write {readings}" in answer.err
    assert answer.err.count("percent sign") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("weight", "checkout", "5"), 'write "5%"'),
        (("weight", "checkout", "101%"), "outside 0% to 100%"),
        (("start", "checkout", "--weight", "0.0001%"), "finer than"),
        (("weight",), "Missing argument"),
        (("kill", "a b"), "not a name"),
        (("kill", "*"), "without a name, `canary kill` means every rollout"),
        (("revive", "*"), "without a name, `canary revive` means every rollout"),
        (("kill", "x" * 65), "not a name"),
        (("flip",), "No such command"),
        (("history", "--limit", "0"), "--limit"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    started: Shell, words: tuple[str, ...], reason: str
) -> None:
    answer = started(*words)
    assert (answer.code, answer.out) == (2, "")
    assert reason in answer.err
    assert started("status", "--json").json["revision"] == 1


def test_every_verb_answers_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in cli.commands:
        assert main([verb, "--help"]) == 0
    assert main(["--help"]) == 0
    help_text = capsys.readouterr().out
    assert "\n    3  the store is unreachable" in help_text


def test_hints_name_verbs_that_exist() -> None:
    hints = " ".join(getattr(cell, "hint", "") for cell in TABLE.values())
    named = {part.split("`")[0].split()[0] for part in hints.split("`canary ")[1:]}
    assert named <= set(cli.commands)
    assert all(NAME.fullmatch(verb) for verb in named)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"canary {__version__}\n"


def test_nobody_is_sent_back_to_a_stable_that_does_not_answer(started: Shell) -> None:
    started("weight", "checkout", "50%")
    started.declare(
        id="p2", silent=(("checkout", "1.4.2", "no connection"), ("checkout", "1.5.0", ""))
    )
    for move in (("rollback", "checkout", "--yes"), ("weight", "checkout", "10%")):
        answer = started(*move)
        assert answer.code == 1
        where = "1.4.2 does not answer its probe in 1 of 2 processes (no connection)"
        assert f"checkout: stable {where}" in answer.err
        assert "--anyway" in answer.err
    text = started("status").out
    assert f"checkout: {where}\n" in text
    assert "checkout: 1.5.0 does not answer its probe in 1 of 2 processes\n" in text
    forward = started("weight", "checkout", "60%")
    assert forward.code == 0, "forward is no matter of stable"
    assert (
        "1.5.0 does not answer its probe in 1 of 2 processes; stable answers there" in forward.err
    )
    assert started("weight", "checkout", "10%", "--anyway").code == 0
    assert started("rollback", "checkout", "--anyway").code == 0


def test_a_kill_asks_nobody(started: Shell) -> None:
    started.declare(id="p2", silent=(("checkout", "1.4.2", ""),))
    answer = started("kill", "checkout")
    assert answer.code == 0
    assert "checkout: 1.4.2 does not answer its probe in 1 of 2 processes\n" in answer.err
