from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.outcomes import EDGES, Cell, OutcomeClass, classify


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (100, OutcomeClass.INFORMATIONAL), (101, OutcomeClass.INFORMATIONAL),
        (199, OutcomeClass.INFORMATIONAL),
        (200, OutcomeClass.SUCCESS), (299, OutcomeClass.SUCCESS), (304, OutcomeClass.REDIRECTION),
        (400, OutcomeClass.CLIENT_ERROR), (499, OutcomeClass.CLIENT_ERROR),
        (500, OutcomeClass.SERVER_ERROR),
        (599, OutcomeClass.SERVER_ERROR), (HTTPStatus.IM_A_TEAPOT, OutcomeClass.CLIENT_ERROR),
        (0, OutcomeClass.OTHER), (99, OutcomeClass.OTHER), (600, OutcomeClass.OTHER),
        (-200, OutcomeClass.OTHER), (10**9, OutcomeClass.OTHER),
    ],
)  # fmt: skip
def test_classes_of_statuses(status: int, kind: OutcomeClass) -> None:
    assert classify(status) is kind


def test_values_are_indices_without_gaps() -> None:
    assert [kind.value for kind in OutcomeClass] == list(range(len(Cell().counts)))


def test_labels() -> None:
    assert [kind.label for kind in OutcomeClass] == [
        "other", "1xx", "2xx", "3xx", "4xx", "5xx", "exception", "aborted", "rescued", "superseded",
        "timeout",
    ]  # fmt: skip


def test_edges_are_those_of_the_semantic_conventions_and_inclusive() -> None:
    assert list(EDGES) == [
        0.005,
        0.01,
        0.025,
        0.05,
        0.075,
        0.1,
        0.25,
        0.5,
        0.75,
        1,
        2.5,
        5,
        7.5,
        10,
    ]
    cell = Cell()
    for seconds in (0.0, 0.005, 0.0050001, 10.0, 10.1, float("inf")):
        cell.add(OutcomeClass.SUCCESS, seconds)
    assert cell.durations[:2] == [2, 1]
    assert cell.durations[-2:] == [1, 2]


@given(st.lists(st.tuples(st.sampled_from(OutcomeClass), st.floats(0, 1e6))))
def test_nothing_is_lost(outcomes: list[tuple[OutcomeClass, float]]) -> None:
    cell = Cell()
    for kind, seconds in outcomes:
        cell.add(kind, seconds)
    assert cell.total == sum(cell.durations) == len(outcomes)
    assert cell.seconds == pytest.approx(sum(seconds for _, seconds in outcomes))
    for kind in OutcomeClass:
        assert cell.counts[kind] == sum(found is kind for found, _ in outcomes)


def test_cells_share_nothing() -> None:
    one, two = Cell(), Cell()
    one.add(OutcomeClass.SUCCESS, 1.0)
    assert [cell.total for cell in (one, two)] == [1, 0]
