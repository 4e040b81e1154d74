"""The promises: an account in which all of them hold, and what each lie in it does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from canary_middleware.core.evidence import Told
from canary_middleware.core.guards import Action, Guard
from canary_middleware.core.state import Phase
from canary_middleware.core.verdict import Decision, Finding, Share
from canary_middleware.core.verdict import Verdict as Judged
from canary_middleware.demo.account import Account, Exported, Release, Scene, Window
from canary_middleware.demo.crowd import Answer, Trouble
from canary_middleware.demo.promises import verdicts
from canary_middleware.demo.summary import counted, harmed, touched
from canary_middleware.demo.telling import story
from canary_middleware.demo.words import CHECKOUT, ERRORS, PAY, SEARCH, TWICE, Part

HEARD, STRUCK, REVIVED = 41.01, 41.0, 50.0
WORKERS = frozenset({7, 8})
DIED = 3.5
"""When the new search was killed."""
HELPED = 6
"""Visitors whom it would have served after that; a request each."""


def answer(
    visitor: int, version: str, sent: float, heard: float | None = None, charges: int = 0
) -> Answer:
    """Answered within 20 ms, by one worker or the other."""
    worker = 7 + visitor % 2
    return Answer(visitor, version, sent, sent + 0.02, worker, sent + 0.01, heard, charges)


def checkouts() -> Iterator[Answer]:
    """100 visitors who come at each weight; the first ones are on the canary."""
    for sent, weight, heard in ((2, 5, None), (12, 25, None), (22, 50, None), (32, 100, None),
                                (36, 100, None), (43, 0, HEARD), (52, 100, HEARD)):  # fmt: skip
        for number in range(100):
            version = CHECKOUT.canary if number < weight else CHECKOUT.stable
            yield answer(number, version, sent + number / 50, heard)


def orders() -> Iterator[Answer]:
    """Ten of the hundred pay by the canary until second 12, three of them twice."""
    for number in range(100):
        canary = number < 10
        version = PAY.canary if canary else PAY.stable
        charges = 2 if canary and number < 3 else 1
        yield answer(number, version, 2.5 + number / 50, charges=charges)
    yield from (answer(number, PAY.stable, 15.0, charges=1) for number in range(100))


def searches() -> Iterator[Answer]:
    """Three by the canary; then all by stable, in its place or not."""
    yield from (answer(number, SEARCH.canary, 2.5 + number / 50) for number in range(3))
    yield from (answer(number, SEARCH.stable, 3.6 + number / 50) for number in range(100))


def exported(answers: list[Answer]) -> Exported:
    """What telemetry tells of them."""
    spans: dict[str, int] = defaultdict(int)
    visitors: dict[str, set[int]] = defaultdict(set)
    for one in answers:
        spans[one.version] += 1
        visitors[one.version].add(one.visitor)
    return Exported(
        spans=spans,
        visitors={version: len(who) for version, who in visitors.items()},
        points={**spans, SEARCH.stable: spans[SEARCH.stable] - HELPED},
        rescued={SEARCH.canary: HELPED},
        helped={SEARCH.name: [str(number) for number in range(HELPED)]},
    )


def release(
    part: Part, since: float, finding: Finding | None, requests: tuple[int, int], *weights: int
) -> Release:
    """One with a scene of ten seconds per weight."""
    decision = Decision.ROLLBACK if finding else Decision.PROMOTE
    judged = Judged(decision, finding is None, (finding,) if finding else (), (10, 90))
    guards = {finding.guard: Guard.errors(name=finding.guard)} if finding else {}
    return Release(
        part=part,
        began=1.0,
        phase=Phase.ROLLED_BACK if finding else Phase.PROMOTED,
        since=since,
        scenes=tuple(
            Scene(weight, Window(0.9 + 10 * at, 10.9 + 10 * at if at < 3 else since))
            for at, weight in enumerate(weights)
        ),
        told=Told(part.canary, part.stable, judged, guards, requests=requests),
    )


def found(guard: str, events: int, of: int) -> Finding:
    """A breach."""
    return Finding(
        guard, Action.BREACH, guard, "requests", Share(events, of), Share(0, 90), 9.0, 4.6,
        breach=True,
    )  # fmt: skip


def account(more: list[Answer] | None = None) -> Account:
    answers = [*checkouts(), *orders(), *searches(), *(more or [])]
    return Account(
        answers=answers,
        errors=[],
        workers=WORKERS,
        releases={
            CHECKOUT.name: release(CHECKOUT, 35.5, None, (180, 320), 5, 25, 50, 100),
            PAY.name: release(PAY, 12.0, found(TWICE, 3, 10), (10, 90), 5),
            SEARCH.name: release(SEARCH, 4.0, found(ERRORS, 4, 4), (4, 60), 5),
        },
        before=Window(35.5, 40.8),
        struck=STRUCK,
        kill=Window(40.8, 41.3),
        revive=Window(REVIVED, REVIVED + 0.5),
        after=Window(51.0, 60.0),
        died=DIED,
        exported=exported(answers),
    )


def failing(told: Account) -> list[str]:
    return [verdict.text for verdict in verdicts(told) if not verdict.held]


def test_account_in_which_everything_holds() -> None:
    told = account()
    assert failing(told) == []
    assert {row.version: (row.visitors[0], row.requests[0]) for row in counted(told)} == {
        "1.4.2": (100, 320), "1.5.0": (100, 380), "2.3.1": (100, 190), "2.4.0": (10, 10),
        "3.0.8": (100, 100), "3.1.0": (3, 3),
    }  # fmt: skip


def test_who_was_touched_is_counted_in_visitors() -> None:
    trouble = [Trouble(5, SEARCH.name, "status 500"), Trouble(5, SEARCH.name, "status 500")]
    told = replace(account(), errors=trouble)
    rows = [touched(told, part) for part in (CHECKOUT, PAY, SEARCH)]
    assert [(it.saw, it.twice, it.pages, it.rescued) for it in rows] == [
        (100, 0, 0, 0), (10, 3, 0, 0), (3, 0, 1, HELPED),
    ]  # fmt: skip
    assert harmed(told) == (100, 10, 3, 1)  # the three are of those ten


def test_what_became_of_each_release_is_a_sentence() -> None:
    told = account()
    lines = [story(touched(told, part), told.died) for part in (CHECKOUT, PAY, SEARCH)]
    assert "which is good, was promoted by itself: everybody has it, after " in lines[0]
    assert lines[0].endswith("100 visitors saw it; nobody got an error page.")
    assert "which charges some orders twice, was taken back by itself: everybody has" in lines[1]
    assert lines[1].endswith("10 visitors saw it; 3 paid twice, nobody got an error page.")
    rescued = f"{HELPED} got the old one in its place, nobody got an error page."
    assert lines[2].startswith("search 3.1.0, whose server was killed, was taken back by itself")
    assert lines[2].endswith(f"3 visitors saw it; {rescued}")
    held = replace(told.releases[PAY.name], phase=Phase.HOLDING, told=None)
    still = replace(told, releases={**told.releases, PAY.name: held})
    assert " twice, is holding, after " in story(touched(still, PAY), None)


Lie = Callable[[Account], Account]


def lost_span(told: Account) -> Account:
    spans = {**told.exported.spans, "1.5.0": told.exported.spans["1.5.0"] - 1}
    return replace(told, exported=replace(told.exported, spans=spans))


def lost_visitor(told: Account) -> Account:
    visitors = {**told.exported.visitors, "2.4.0": 9}
    return replace(told, exported=replace(told.exported, visitors=visitors))


def lost_points(told: Account) -> Account:
    return replace(told, exported=replace(told.exported, points={}))


def changed(part: Part, **more: object) -> Lie:
    """A release that is another one."""

    def lie(told: Account) -> Account:
        other = replace(told.releases[part.name], **more)  # type: ignore[arg-type]  # by name
        return replace(told, releases={**told.releases, part.name: other})

    return lie


def wrong_weight(told: Account) -> Account:
    first, *others = told.releases[CHECKOUT.name].scenes
    return changed(CHECKOUT, scenes=(replace(first, weight=40), *others))(told)


def knowing(part: Part, finding: Finding | None, requests: tuple[int, int]) -> Lie:
    """History that tells something else."""
    return changed(part, told=release(part, 0.0, finding, requests).told)


def unheard_worker(told: Account) -> Account:
    return replace(told, workers=WORKERS | {9})


def late_worker(told: Account) -> Account:
    return replace(told, struck=HEARD - 1.1)


def error_page(told: Account) -> Account:
    return replace(told, errors=[Trouble(3, CHECKOUT.name, "status 500")])


def unrescued(told: Account) -> Account:
    return replace(told, errors=[Trouble(3, SEARCH.name, "status 500")])


def unbooked_rescue(told: Account) -> Account:
    lost = replace(told.exported, rescued={SEARCH.canary: HELPED - 1})
    points = {**lost.points, SEARCH.stable: lost.points[SEARCH.stable] + 1}
    return replace(told, exported=replace(lost, points=points))


PAGES = (
    "its server had given 3 answers; 6 visitors came too late and had 3.0.8, by spans and metrics; "
    "1 of them saw an error page"
)


def immortal_server(told: Account) -> Account:
    return replace(told, died=None)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lost_span, ["what visitors saw, spans and metrics agree: they do not"]),
        (lost_visitor, ["what visitors saw, spans and metrics agree: they do not"]),
        (lost_points, ["what visitors saw, spans and metrics agree: they do not"]),
        (wrong_weight, ["at 40 %: 5 of 100 visitors"]),
        (unheard_worker, ["2 of 3 workers heard"]),
        (late_worker, ["2 of 2 workers heard of the kill, the last 1,100.0 ms"]),
        (error_page, ["1 errors in 1,004 requests; the first: visitor 3 in checkout: status 500"]),
        (unrescued, [PAGES, "1 errors"]),
        (unbooked_rescue, ["its server had given 3 answers; 6 visitors"]),
        (immortal_server, ["its server had given 3 answers", "3 visitors saw two versions"]),
        (changed(CHECKOUT, phase=Phase.HOLDING),
         ["checkout 1.5.0 was not promoted: it is holding"]),
        (changed(PAY, phase=Phase.PROMOTED),
         ["pay 2.4.0 was not rolled back by orders-charged-twice: it is promoted", "0 requests"]),
        (knowing(PAY, found(ERRORS, 3, 10), (10, 90)),
         ["pay 2.4.0 was not rolled back by orders-charged-twice: it is rolled back by errors",
          "history has no evidence against pay 2.4.0"]),
        (knowing(PAY, found(TWICE, 4, 10), (10, 90)),
         ["history knew 4 of 10 orders charged twice when visitors had seen 3 of 10"]),
        (knowing(PAY, found(TWICE, 2, 10), (10, 90)),
         ["history knew 2 of 10 orders charged twice when visitors had seen 3 of 10"]),
        (knowing(SEARCH, found(ERRORS, 7, 7), (7, 60)), ["history knew 7 of those 6"]),
        (knowing(CHECKOUT, None, (29, 320)), ["history knew 29 of the 180 requests to 1.5.0"]),
        (knowing(CHECKOUT, None, (181, 320)), ["history knew 181 of the 180"]),
    ],
)  # fmt: skip
def test_every_lie_is_found_out(lie: Lie, words: list[str]) -> None:
    texts = failing(lie(account()))
    assert len(texts) == len(words), texts
    for text, begin in zip(texts, words, strict=True):
        assert text.startswith(begin)


def test_order_that_stable_charged_twice_is_found_out() -> None:
    (text,) = failing(account([answer(80, PAY.stable, 16.0, charges=2)]))
    assert text.startswith("3 of 10 orders charged twice on 2.4.0, 1 on 2.3.1")


def test_order_given_to_a_release_that_was_rolled_back_is_found_out() -> None:
    late = answer(3, PAY.canary, 13.5, charges=1)
    assert "1 requests given to 2.4.0 later than a second after that" in failing(account([late]))


def test_visitor_who_sees_two_versions_at_one_weight_is_found_out() -> None:
    there, back = answer(80, "1.5.0", 25.0), answer(80, "1.4.2", 25.1)
    assert failing(account([there, back])) == [
        "1 visitors saw two versions without a change of weight"
    ]


def test_visitor_who_meets_a_change_on_its_way_is_none_of_them() -> None:
    # One worker has heard of 50 % and the other one not yet.
    met = [answer(40, "1.5.0", 21.0), answer(40, "1.4.2", 21.1), answer(40, "1.5.0", 21.2)]
    assert failing(account(met)) == []


def test_canary_answer_that_was_dispatched_before_its_worker_heard_is_fair() -> None:
    assert failing(account([answer(3, "1.5.0", 41.005)])) == []


def test_canary_answer_that_was_dispatched_after_it_is_found_out() -> None:
    late = answer(3, "1.5.0", 41.2, HEARD)
    assert failing(account([late])) == [
        "1 requests given to 1.5.0 after their worker had heard of the kill"
    ]


def test_canary_answers_long_after_the_kill_are_found_out() -> None:
    # Of a worker that never heard, so that no answer says that it had.
    texts = failing(account([answer(3, "1.5.0", 49.0)]))
    assert "last request given to 1.5.0 ended 8,020.0 ms after the kill was written" in texts


def test_visitor_who_lost_a_version_over_the_kill_is_found_out() -> None:
    told = account()
    swapped = [
        replace(a, version="1.4.2") if a.visitor == 3 and a.sent > REVIVED else a
        for a in told.answers
    ]
    told = replace(told, answers=swapped, exported=exported(swapped))
    assert failing(told) == ["99 of 100 visitors who came back after it have their version again"]
