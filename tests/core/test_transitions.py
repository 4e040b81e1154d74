"""What refusals say: every command that a hint names works where the hint is read."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from canary_middleware.core.refusals import Refusal
from canary_middleware.core.state import ACTIVE, EVERYTHING, Document, Phase, Plan, Verb
from canary_middleware.core.transitions import TABLE, Command, apply, strike
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import VerbRefusedError

RAMP = Plan("1", "2", steps=(1_000, 5_000, 25_000))
BARE = Plan("1", "2")
EMPTY = Document("a")
AFTER_THE_WINDOW = 1.0 + RAMP.rollback_window
REFUSED = [where for where, cell in TABLE.items() if isinstance(cell, Refusal)]


def placed(phase: Phase, plan: Plan = RAMP, weight: int = 5_000) -> Document:
    """`checkout` with this plan as its current release, in that phase."""
    started = apply(EMPTY, Command(Verb.START, "checkout", plan=plan), 1.0)
    state = started.rollouts["checkout"]
    entry = replace(state.entries[plan.canary], phase=phase, weight=weight)
    state = replace(state, entries={plan.canary: entry})
    return replace(started, rollouts={"checkout": state})


def typed(line: str, plan: Plan) -> Command:
    """A command as somebody copies it from a hint."""
    canary, verb, *words = line.split()
    assert canary == "canary"
    release = words[words.index("--release") + 1] if "--release" in words else None
    shares = [word.replace("WEIGHT", "7%") for word in words if word[-1] == "%" or "WEIGHT" in word]
    names = [word for word in words if word.islower() and not word.startswith("-")]
    return Command(
        Verb(verb),
        names[0] if names else EVERYTHING,
        release=release,
        plan=plan if verb == "start" else None,
        weight=parse_weight(shares[0]) if shares else None,
        acknowledge="--again" in words,
        early="--early" in words,
    )


def refusal(document: Document, command: Command) -> VerbRefusedError:
    with pytest.raises(VerbRefusedError) as refused:
        apply(document, command, 2.0)
    assert "ROLLOUT" not in refused.value.hint
    return refused.value


def named(refused: VerbRefusedError) -> list[str]:
    return re.findall(r"`(canary [^`]+)`", refused.hint)


@pytest.mark.parametrize(
    ("phase", "verb", "plan", "weight"),
    [
        (*where, plan, weight)
        for where in REFUSED
        for plan, weight in ((RAMP, 5_000), (RAMP, 30_000), (BARE, 5_000))
        # What has no ramp awaits nothing.
        if plan is RAMP or where[0] is not Phase.AWAITING_APPROVAL
    ],
)
def test_every_command_that_a_hint_names_works_in_that_phase(
    phase: Phase, verb: Verb, plan: Plan, weight: int
) -> None:
    document = placed(phase, plan, weight)
    share = 6_000 if verb is Verb.WEIGHT else None
    refused = refusal(document, Command(verb, "checkout", plan=plan, weight=share))
    for line in named(refused):
        apply(document, typed(line, plan), AFTER_THE_WINDOW)


@pytest.mark.parametrize("verb", [v for v in Verb if v not in (Verb.START, Verb.REVIVE)])
def test_what_was_never_started_is_begun_by_the_command_in_the_hint(verb: Verb) -> None:
    share = 6_000 if verb is Verb.WEIGHT else None
    for line in named(refusal(EMPTY, Command(verb, "checkout", weight=share))):
        begun = apply(EMPTY, typed(line, RAMP), 3.0).entry("checkout", "2")
        assert begun is not None
        assert begun.weight == (share or 1_000)


def test_resume_names_what_works_without_a_ramp_and_above_it() -> None:
    for plan, weight in ((BARE, 5_000), (RAMP, 30_000)):
        document = placed(Phase.PAUSED, plan, weight)
        lines = named(refusal(document, Command(Verb.RESUME, "checkout")))
        assert len(lines) == 3
        for line in lines:
            apply(document, typed(line, plan), 3.0)
    # A step back, and the ramp goes on.
    back = apply(document, typed(lines[0], RAMP), 3.0)
    apply(back, Command(Verb.RESUME, "checkout"), 4.0)


@pytest.mark.parametrize("phase", sorted(ACTIVE, key=str))
def test_another_release_starts_after_the_command_in_the_hint(phase: Phase) -> None:
    document, third = placed(phase), replace(RAMP, canary="3")
    start = Command(Verb.START, "checkout", plan=third)
    lines = named(refusal(document, start))
    assert lines == ["canary promote checkout", "canary rollback checkout"]
    for line in lines:
        assert apply(apply(document, typed(line, RAMP), 3.0), start, 4.0).entry("checkout", "3")


def test_a_hint_names_a_release_that_is_not_the_current_one() -> None:
    third = replace(RAMP, canary="3")
    document = apply(placed(Phase.PROMOTED), Command(Verb.START, "checkout", plan=third), 3.0)
    document = apply(document, Command(Verb.PROMOTE, "checkout"), 3.0)
    refused = refusal(document, Command(Verb.START, "checkout", plan=RAMP))
    assert named(refused) == [
        "canary finish checkout --release 2", "canary rollback checkout --release 2",
    ]  # fmt: skip
    closed = apply(document, typed(named(refused)[0], RAMP), AFTER_THE_WINDOW).entry(
        "checkout", "2"
    )
    assert closed is not None
    assert closed.phase is Phase.FINISHED
    fourth = apply(document, Command(Verb.START, "checkout", plan=replace(RAMP, canary="4")), 3.0)
    for early in (False, True):
        refused = refusal(fourth, Command(Verb.FINISH, "checkout", early=early))
        lines = named(refused)
        assert [line.split()[4] for line in lines] == ["2", "3"]
        for line in lines:
            assert typed(line, RAMP).early is early
            apply(fourth, typed(line, RAMP), AFTER_THE_WINDOW + 2)
    never = refusal(document, Command(Verb.PAUSE, "checkout", release="9"))
    assert "known are: 2, 3" in str(never)
    assert named(never) == ["canary start checkout --release 9"]


@pytest.mark.parametrize("scopes", [["checkout"], [EVERYTHING], ["checkout", EVERYTHING]])
def test_the_commands_in_the_hint_of_a_killed_rollout_lift_the_kill(scopes: list[str]) -> None:
    document = placed(Phase.PAUSED)
    for scope in scopes:
        document = strike(document, scope, by="me", why="", now=2.0)
    command = Command(Verb.WEIGHT, "checkout", weight=1)
    for line in named(refusal(document, command)):
        document = apply(document, typed(line, RAMP), 3.0)
    assert apply(document, command, 4.0).kills == {}


@pytest.mark.parametrize(
    ("struck", "asked", "message", "lines"),
    [
        ([], EVERYTHING, "nothing is killed", []),
        ([], "checkout", "checkout: nothing is killed", []),
        (["checkout"], EVERYTHING, "the namespace is not killed, only checkout",
         ["canary revive checkout"]),
        (["cart", "search"], "checkout", "checkout: it is not killed, only cart, search",
         ["canary revive cart", "canary revive search"]),
        ([EVERYTHING], "checkout", "it is not killed by itself, the whole namespace is",
         ["canary revive"]),
    ],
)  # fmt: skip
def test_a_revive_that_lifts_nothing_says_what_is_killed_and_what_lifts_it(
    struck: list[str], asked: str, message: str, lines: list[str]
) -> None:
    document = EMPTY
    for scope in struck:
        document = strike(document, scope, by="me", why="", now=2.0)
    refused = refusal(document, Command(Verb.REVIVE, asked))
    assert message in str(refused)
    assert named(refused) == lines
    for line in lines:
        document = apply(document, typed(line, RAMP), 3.0)
    assert document.kills == {}
