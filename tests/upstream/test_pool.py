"""The book of connections: examples, and a machine of clients that are driven by chance."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from canary_middleware.upstream.pool import (
    Closed,
    Counts,
    Full,
    Handed,
    Open,
    Pool,
    Reuse,
    Wait,
)

IDLE = 30.0


def held(pool: Pool[str], *names: str) -> Pool[str]:
    for name in names:
        assert pool.take(0.0) == Open()
        pool.opened(name)
    return pool


def test_the_last_one_given_back_is_used_first() -> None:
    pool = held(Pool(3, IDLE, 0), "a", "b")
    assert pool.give("a", 1.0, reusable=True) is None
    assert pool.give("b", 2.0, reusable=True) is None
    assert pool.take(3.0) == Reuse("b")
    assert pool.take(3.0) == Reuse("a")
    assert pool.take(3.0) == Open()
    assert isinstance(pool.take(3.0), Full)


def test_a_connection_is_kept_only_if_it_can_be_used_again() -> None:
    pool = held(Pool(2, IDLE, 0), "a")
    assert pool.give("a", 1.0, reusable=False) is None
    assert pool.counts() == Counts(0, 0, 0, 0)
    assert pool.take(1.0) == Open()


def test_who_waits_longest_gets_what_is_given_back_and_nobody_overtakes() -> None:
    pool = held(Pool(1, IDLE, 2), "a")
    first, second = pool.take(0.0), pool.take(0.0)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert isinstance(pool.take(0.0), Full)
    assert pool.give("a", 1.0, reusable=True) == Handed(first.ticket, Reuse("a"))
    assert isinstance(pool.take(1.0), Wait)
    # One that is not good any more leaves its room to the next.
    assert pool.give("a", 2.0, reusable=False) == Handed(second.ticket, Open())


def test_the_room_of_a_failed_connect_goes_to_the_next() -> None:
    pool: Pool[str] = Pool(1, IDLE, 1)
    assert pool.take(0.0) == Open()
    waiting = pool.take(0.0)
    assert isinstance(waiting, Wait)
    assert pool.failed() == Handed(waiting.ticket, Open())
    assert pool.failed() is None
    assert pool.counts() == Counts(0, 0, 0, 0)


def test_one_that_died_while_idle_is_never_handed_out() -> None:
    pool = held(Pool(2, IDLE, 0), "a", "b")
    pool.give("a", 1.0, reusable=True)
    pool.give("b", 1.0, reusable=True)
    assert pool.lost("b") is None
    assert pool.take(1.0) == Reuse("a")
    assert pool.take(1.0) == Open()


def test_one_that_died_in_use_leaves_its_room_once_in_either_order_of_words() -> None:
    pool = held(Pool(1, IDLE, 2), "a")
    waiting = pool.take(0.0)
    assert isinstance(waiting, Wait)
    assert isinstance(pool.take(0.0), Wait)
    assert pool.lost("a") == Handed(waiting.ticket, Open())
    assert pool.give("a", 0.0, reusable=True) is None
    assert pool.lost("a") is None
    assert pool.counts() == Counts(0, 1, 0, 1)


def test_a_dead_one_is_replaced_past_those_who_wait() -> None:
    pool = held(Pool(1, IDLE, 1), "a")
    pool.give("a", 0.0, reusable=True)
    assert pool.take(1.0) == Reuse("a")
    assert isinstance(pool.take(1.0), Wait)
    assert pool.replace("a") == Open()
    assert pool.counts() == Counts(0, 1, 0, 1)


def test_who_stops_waiting_is_passed_over_and_a_late_one_is_told() -> None:
    pool = held(Pool(1, IDLE, 2), "a")
    first, second = pool.take(0.0), pool.take(0.0)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert pool.cancel(first.ticket)
    assert pool.give("a", 1.0, reusable=True) == Handed(second.ticket, Reuse("a"))
    assert not pool.cancel(second.ticket), "it holds the connection: it has to give it back"
    assert pool.counts() == Counts(1, 0, 0, 0)


def test_idle_ones_end_in_their_time() -> None:
    pool = held(Pool(3, IDLE, 0), "a", "b", "c")
    for at, name in enumerate("abc"):
        pool.give(name, float(at), reusable=True)
    assert pool.expire(IDLE - 0.001) == []
    assert pool.expire(IDLE + 1.0) == ["a", "b"]
    assert pool.take(IDLE + 1.9) == Reuse("c")


def test_one_that_is_overdue_is_not_used_though_nobody_cleared_it_away() -> None:
    pool = held(Pool(2, IDLE, 0), "a", "b")
    pool.give("a", 0.0, reusable=True)
    pool.give("b", 0.0, reusable=True)
    assert pool.take(IDLE) == Open(("a", "b"))
    assert pool.take(IDLE) == Open(), "their rooms are free again"
    assert pool.expire(9 * IDLE) == []


def test_a_closed_book_lets_nobody_in_and_keeps_nothing() -> None:
    pool = held(Pool(2, IDLE, 1), "a", "b")
    waiting = pool.take(0.0)
    assert isinstance(waiting, Wait)
    assert pool.close() == Closed((), (waiting.ticket,))
    assert pool.give("a", 0.0, reusable=True) is None
    assert isinstance(pool.take(0.0), Full)
    assert pool.counts() == Counts(1, 0, 0, 0)
    other = held(Pool(1, IDLE, 0), "c")
    other.give("c", 0.0, reusable=True)
    assert other.close() == Closed(("c",), ())
    assert isinstance(other.take(0.0), Full)


@dataclass(eq=False)
class Line:
    """A connection of the machine, with what its upstream still sends to whom."""

    unread: list[int] = field(default_factory=list)
    alive: bool = True
    closed: bool = False
    since: float = 0.0


class Clients(RuleBasedStateMachine):
    """Clients do with connections whatever clients can; each answer bears its client's number."""

    @initialize(limit=st.integers(1, 4), waiting=st.integers(0, 4))
    def begin(self, limit: int, waiting: int) -> None:
        self.limit, self.waiting = limit, waiting
        self.pool: Pool[Line] = Pool(limit, IDLE, waiting)
        self.now = 0.0
        self.clients = 0
        self.holding: dict[int, Line] = {}
        self.opening: list[int] = []
        self.queue: list[tuple[int, int]] = []  # ticket, client
        self.idle: list[Line] = []

    def grant(self, client: int, grant: Reuse[Line] | Open[Line]) -> None:
        if isinstance(grant, Open):
            for line in grant.overdue:
                assert self.now - line.since >= IDLE
                self.shut(line)
            self.opening.append(client)
            return
        line = grant.conn
        assert line not in self.holding.values(), "held by two"
        assert line.alive
        assert not line.closed
        assert line.unread == [], "the answer to somebody else"
        if line in self.idle:
            assert self.now - line.since < IDLE
            self.idle.remove(line)
        self.ask(client, line)

    def ask(self, client: int, line: Line) -> None:
        self.holding[client] = line
        line.unread.append(client)

    def handed(self, handed: Handed[Line] | None) -> None:
        if handed is None:
            return
        ticket, client = self.queue.pop(0)
        assert ticket == handed.ticket, "somebody was overtaken"
        self.grant(client, handed.grant)

    def shut(self, line: Line) -> None:
        assert line not in self.holding.values()
        assert not line.closed
        line.closed = True
        if line in self.idle:
            self.idle.remove(line)

    @rule()
    def come(self) -> None:
        self.clients += 1
        answer = self.pool.take(self.now)
        if isinstance(answer, Wait):
            self.queue.append((answer.ticket, self.clients))
        elif isinstance(answer, Full):
            assert len(self.queue) == self.waiting
        else:
            assert not self.queue, "who came last was served before those who wait"
            self.grant(self.clients, answer)

    @precondition(lambda self: self.opening)
    @rule(data=st.data())
    def connected(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.opening))
        self.opening.remove(client)
        line = Line()
        self.pool.opened(line)
        self.ask(client, line)

    @precondition(lambda self: self.opening)
    @rule()
    def not_connected(self) -> None:
        self.opening.pop()
        self.handed(self.pool.failed())

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), keep=st.booleans())
    def answered(self, data: st.DataObject, keep: bool) -> None:
        client = data.draw(st.sampled_from(sorted(self.holding)))
        line = self.holding.pop(client)
        assert line.unread == [client]
        line.unread.clear()
        self.end(line, keep)

    @precondition(lambda self: self.holding)
    @rule(data=st.data())
    def abandoned(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(sorted(self.holding)))
        self.end(self.holding.pop(client), keep=False)

    def end(self, line: Line, keep: bool) -> None:
        if keep:
            line.since = self.now
        else:
            line.closed = True
        handed = self.pool.give(line, self.now, keep)
        if keep and handed is None:
            self.idle.append(line)
        self.handed(handed)

    @precondition(lambda self: self.holding)
    @rule(data=st.data(), repeat=st.booleans())
    def died_in_use(self, data: st.DataObject, repeat: bool) -> None:
        client = data.draw(st.sampled_from(sorted(self.holding)))
        line = self.holding.pop(client)
        line.alive, line.closed = False, True
        if repeat:
            self.grant(client, self.pool.replace(line))
            return
        self.handed(self.pool.lost(line))
        before = self.pool.counts()
        assert self.pool.give(line, self.now, reusable=True) is None
        assert self.pool.counts() == before

    @precondition(lambda self: self.idle)
    @rule(data=st.data())
    def died_idle(self, data: st.DataObject) -> None:
        line = data.draw(st.sampled_from(self.idle))
        line.alive = False
        assert self.pool.lost(line) is None
        self.shut(line)

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def gave_up(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.queue))
        self.queue.remove(entry)
        assert self.pool.cancel(entry[0])
        assert not self.pool.cancel(entry[0])

    @rule(seconds=st.sampled_from([0.0, 1.0, IDLE / 2, IDLE]), clear=st.booleans())
    def later(self, seconds: float, clear: bool) -> None:
        self.now += seconds
        for line in self.pool.expire(self.now) if clear else ():
            assert self.now - line.since >= IDLE
            self.shut(line)
        if clear:
            assert all(self.now - line.since < IDLE for line in self.idle)

    @invariant()
    def nothing_leaks(self) -> None:
        counts = self.pool.counts()
        assert counts == (
            len(self.holding),
            len(self.opening),
            len(self.idle),
            len(self.queue),
        )
        assert counts.busy + counts.opening + counts.idle <= self.limit
        assert counts.waiting <= self.waiting

    @invariant()
    def nobody_waits_for_what_is_free(self) -> None:
        if self.queue:
            assert not self.idle
            assert len(self.holding) + len(self.opening) == self.limit

    def teardown(self) -> None:
        # Whatever happened: when all have ended, everybody who waited was served.
        while self.holding or self.opening:
            while self.opening:
                line = Line()
                self.pool.opened(line)
                self.ask(self.opening.pop(), line)
            client = min(self.holding)
            line = self.holding.pop(client)
            line.unread.clear()
            self.end(line, keep=True)
        assert not self.queue
        left = self.pool.close()
        assert list(left.idle) == self.idle
        assert self.pool.counts() == (0, 0, 0, 0)


TestClients = Clients.TestCase
