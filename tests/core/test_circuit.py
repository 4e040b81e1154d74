"""The circuit breaker: a machine that is driven by chance, and what it must never do."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from canary_middleware.core.circuit import ANYWAY, FAILURES, OPEN, Circuit


def opened(at: float = 10.0) -> Circuit:
    circuit = Circuit()
    told = [circuit.failed(at) for _ in range(FAILURES)]
    assert told == [False] * (FAILURES - 1) + [True]
    return circuit


def test_failures_in_a_row_open_it_and_a_success_begins_the_row_anew() -> None:
    circuit = Circuit()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            assert not circuit.failed(1.0)
        circuit.succeeded()
        assert circuit.allows(1.0, -math.inf)
    for _ in range(FAILURES):
        circuit.failed(2.0)
    assert not circuit.allows(2.0, -math.inf)


def test_only_a_look_that_was_begun_after_it_opened_closes_it() -> None:
    for looked in (-math.inf, 9.0, 10.0):
        assert not opened(10.0).allows(10.0 + ANYWAY - 0.01, looked)
    assert opened(10.0).allows(12.0, 10.1)


def test_it_stays_open_for_a_while_whatever_the_look_says() -> None:
    circuit = opened(10.0)
    assert not circuit.allows(10.0 + OPEN - 0.01, 10.1)
    assert circuit.allows(10.0 + OPEN, 10.1)


def test_one_request_tries_in_a_while_though_no_look_was_quick() -> None:
    circuit, tried = opened(10.0), 0
    for second in range(10, 100):
        if circuit.allows(float(second), -math.inf):
            tried += 1
            circuit.failed(float(second))
    assert tried == 90 // ANYWAY - 1


def test_one_more_failure_opens_it_again() -> None:
    circuit = opened(10.0)
    assert circuit.allows(20.0, 19.0)
    assert circuit.failed(20.0)
    assert not circuit.allows(20.0 + ANYWAY - 0.1, 19.0)
    assert circuit.allows(30.0, 20.5)
    circuit.succeeded()
    assert not circuit.failed(31.0)


def test_answers_that_were_under_way_when_it_opened_tell_nothing_new() -> None:
    circuit = opened(10.0)
    assert not any(circuit.failed(10.0 + late) for late in range(5))
    assert circuit.opened == 10.0


class Site(RuleBasedStateMachine):
    """Requests, a store that comes and goes, and an agent that looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.circuit = Circuit()
        self.now = 0.0
        self.looked = -math.inf
        self.up = True
        self.in_a_row = 0
        self.waits_since_opened = 0

    @rule(seconds=st.floats(0.01, 3.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def the_store_goes(self) -> None:
        self.up = False

    @rule()
    def the_store_comes_back(self) -> None:
        self.up = True

    @precondition(lambda self: self.up)
    @rule()
    def the_agent_looks(self) -> None:
        self.looked = self.now

    @rule()
    def a_request_comes(self) -> None:
        before = self.circuit.opened
        if not self.circuit.allows(self.now, self.looked):
            assert before is not None
            assert self.now - before < OPEN or self.looked <= before, "shut out for no reason"
            assert self.now - before < ANYWAY or self.now - before < OPEN
            return
        if before is not None:
            late = self.now - before >= ANYWAY
            assert self.looked > before or late, "tried at the expense of a request"
            self.in_a_row = FAILURES - 1
        if self.up:
            self.circuit.succeeded()
            self.in_a_row = 0
        else:
            self.in_a_row += 1
            assert self.circuit.failed(self.now) is (self.in_a_row >= FAILURES)

    @invariant()
    def it_is_open_after_so_many_failures(self) -> None:
        assert (self.circuit.opened is not None) is (self.in_a_row >= FAILURES)


TestSite = Site.TestCase
