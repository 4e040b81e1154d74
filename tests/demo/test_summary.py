"""The summary: an account in which all holds, and what each lie in it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from canary_middleware.demo.crowd import Answer
from canary_middleware.demo.summary import (
    Account,
    Exported,
    Scene,
    Window,
    table,
    verdicts,
)

STRUCK, HEARD, REVIVED = 31.0, 31.01, 40.0
WORKERS = frozenset({7, 8})


def answer(visitor: int, version: str, sent: float, heard: float | None = None) -> Answer:
    """Answered within 20 ms, by one worker or the other."""
    return Answer(visitor, version, sent, sent + 0.02, 7 + visitor % 2, sent + 0.01, heard)


def story() -> list[Answer]:
    """100 visitors who come in each scene; the first ones are on the canary."""
    answers = []
    for sent, weight, heard in ((2, 5, None), (12, 25, None), (22, 50, None), (32, 0, HEARD),
                                (42, 50, HEARD)):  # fmt: skip
        answers += [
            answer(number, "1.5.0" if number < weight else "1.4.2", sent + number / 50, heard)
            for number in range(100)
        ]
    return answers


def exported(answers: list[Answer]) -> Exported:
    """What telemetry tells of them."""
    requests = {v: sum(a.version == v for a in answers) for v in ("1.4.2", "1.5.0")}
    visitors = {v: len({a.visitor for a in answers if a.version == v}) for v in requests}
    return Exported(spans=requests, visitors=visitors, points=requests)


def account(more: list[Answer] | None = None) -> Account:
    answers = [*story(), *(more or [])]
    return Account(
        answers=answers,
        errors=[],
        workers=WORKERS,
        changes=[Window(begun, begun + 0.5) for begun in (0.5, 10.5, 20.5, 30.8, REVIVED)],
        scenes=[
            Scene("5 %", 5, Window(1, 10)),
            Scene("25 %", 25, Window(11, 20)),
            Scene("50 %", 50, Window(21, 30)),
            Scene("revived", 50, Window(41, 50)),
        ],
        struck=STRUCK,
        kill=Window(30.8, 31.3),
        revive=Window(REVIVED, REVIVED + 0.5),
        exported=exported(answers),
    )


def failing(told: Account) -> list[str]:
    return [verdict.text for verdict in verdicts(told) if not verdict.held]


def test_account_in_which_everything_holds() -> None:
    assert failing(account()) == []
    assert [(row.stable, row.canary) for row in table(account())] == [
        (100, 50), (100, 50), (370, 130), (370, 130), (370, 130),
    ]  # fmt: skip


def lost_span(told: Account) -> Account:
    spans = {**told.exported.spans, "1.5.0": told.exported.spans["1.5.0"] - 1}
    return replace(told, exported=replace(told.exported, spans=spans))


def lost_visitor(told: Account) -> Account:
    return replace(told, exported=replace(told.exported, visitors={"1.4.2": 100, "1.5.0": 49}))


def lost_points(told: Account) -> Account:
    return replace(told, exported=replace(told.exported, points={}))


def wrong_weight(told: Account) -> Account:
    first, *others = told.scenes
    return replace(told, scenes=[replace(first, weight=40), *others])


def unheard_worker(told: Account) -> Account:
    return replace(told, workers=WORKERS | {9})


def late_worker(told: Account) -> Account:
    return replace(told, struck=HEARD - 1.1)


def one_error(told: Account) -> Account:
    return replace(told, errors=["visitor 3: status 500"])


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lost_span, "what visitors saw, spans and metrics agree: they do not"),
        (lost_visitor, "what visitors saw, spans and metrics agree: they do not"),
        (lost_points, "what visitors saw, spans and metrics agree: they do not"),
        (wrong_weight, "5 %: 5 of 100 visitors"),
        (unheard_worker, "2 of 3 workers heard"),
        (late_worker, "2 of 2 workers heard of the kill, the last 1,100.0 ms"),
        (one_error, "1 errors in 501 requests; the first: visitor 3: status 500"),
    ],
)
def test_every_lie_is_found_out(lie: Callable[[Account], Account], words: str) -> None:
    (text,) = failing(lie(account()))
    assert text.startswith(words)


def test_visitor_who_sees_two_versions_at_one_weight_is_found_out() -> None:
    there, back = answer(80, "1.5.0", 25.0), answer(80, "1.4.2", 25.1)
    assert failing(account([there, back])) == [
        "1 visitors saw two versions without a change of weight"
    ]


def test_visitor_who_meets_a_change_on_its_way_is_none_of_them() -> None:
    # One worker has heard of 50 % and the other one not yet.
    met = [answer(40, "1.5.0", 20.7), answer(40, "1.4.2", 20.8), answer(40, "1.5.0", 20.9)]
    assert failing(account(met)) == []


def test_canary_answer_that_was_dispatched_before_its_worker_heard_is_fair() -> None:
    assert failing(account([answer(3, "1.5.0", 31.005)])) == []


def test_canary_answer_that_was_dispatched_after_it_is_found_out() -> None:
    late = answer(3, "1.5.0", 31.2, HEARD)
    assert failing(account([late])) == [
        "1 requests given to 1.5.0 after their worker had heard of the kill"
    ]


def test_canary_answers_long_after_the_kill_are_found_out() -> None:
    # Of a worker that never heard, so that no answer says that it had.
    texts = failing(account([answer(3, "1.5.0", 39.0)]))
    assert "last request given to 1.5.0 ended 8,020.0 ms after the kill was written" in texts


def test_visitor_who_lost_a_version_over_the_kill_is_found_out() -> None:
    told = account()
    changed = [
        replace(a, version="1.4.2") if a.visitor == 3 and a.sent > REVIVED else a
        for a in told.answers
    ]
    told = replace(told, answers=changed, exported=exported(changed))
    assert failing(told) == ["99 of 100 visitors who came back later have their version again"]
