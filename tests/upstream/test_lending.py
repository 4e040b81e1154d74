"""The book behind a lock: threads, forks, and those who leave while they wait."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from canary_middleware.upstream.address import parse
from canary_middleware.upstream.blocking import Connection
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.lending import Lender, NoConnectionError
from tests.support.servers import free_port, wait_until
from tests.upstream.origins import Origin, Peer, silent


def lender(
    origin: Origin, limit: int = 2, waiting: int = 9, connect: float = 2.0, idle: float = 30.0
) -> Lender:
    return Lender(parse(origin.url), connect, Health(), limit=limit, waiting=waiting, idle=idle)


def soon(seconds: float = 2.0) -> float:
    return time.monotonic() + seconds


def refusal(ask: Callable[[], Connection]) -> int:
    with pytest.raises(NoConnectionError) as error:
        ask()
    return error.value.status


def test_a_connection_is_lent_again_and_says_so() -> None:
    with Origin(silent) as origin:
        loans = lender(origin)
        conn = loans.lend(soon())
        reused = [conn.reused]
        loans.give(conn, reusable=True)
        assert loans.lend(soon()) is conn
        assert [*reused, conn.reused] == [False, True]
        loans.give(conn, reusable=False)
        other = loans.lend(soon())
        assert other is not conn
        loans.give(other, reusable=False)


def test_one_that_died_while_idle_is_replaced() -> None:
    with Origin(silent) as origin:
        loans = lender(origin)
        died = loans.lend(soon())
        loans.give(died, reusable=True)
        wait_until(lambda: len(origin.peers) == 1)
        origin.cut()
        wait_until(died.dead)
        conn = loans.lend(soon())
        assert conn is not died
        assert not conn.reused
        assert loans.counts() == (1, 0, 0, 0)
        loans.give(conn, reusable=False)


def test_one_that_died_in_use_is_replaced_past_those_who_wait() -> None:
    with Origin(silent) as origin, ThreadPoolExecutor() as threads:
        loans = lender(origin, limit=1)
        died = loans.lend(soon())
        waiting = threads.submit(loans.lend, soon())
        wait_until(lambda: loans.counts().waiting == 1)
        conn = loans.renew(died, soon())
        assert loans.counts() == (1, 0, 0, 1)
        loans.give(conn, reusable=True)
        assert waiting.result(1) is conn
        loans.give(conn, reusable=False)


def test_idle_ones_are_closed_in_time() -> None:
    gone = threading.Event()

    def script(peer: Peer) -> None:
        if not peer.receive() and peer.number == 1:
            gone.set()

    with Origin(script) as origin:
        loans = lender(origin, idle=0.05)
        first, second = loans.lend(soon()), loans.lend(soon())
        loans.give(first, reusable=True)
        time.sleep(0.06)
        loans.give(second, reusable=True)
        assert gone.wait(1)
        assert loans.counts() == (0, 0, 1, 0)
        loans.close()


def test_room_is_handed_on_when_a_connect_fails() -> None:
    nowhere = parse(f"http://127.0.0.1:{free_port()}")
    loans = Lender(nowhere, 1.0, Health(), limit=1, waiting=9, idle=9.0)
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(refusal, lambda: loans.lend(soon())) for _ in range(8)]
        assert {one.result(2) for one in asked} == {502}
    assert loans.counts() == (0, 0, 0, 0)


def test_who_waits_too_long_leaves_without_a_trace() -> None:
    with Origin(silent) as origin:
        loans = lender(origin, limit=1, connect=0.1)
        conn = loans.lend(soon())
        assert refusal(lambda: loans.lend(soon())) == 504
        assert loans.counts() == (1, 0, 0, 0)
        loans.give(conn, reusable=True)
        loans.close()


@pytest.mark.alone
def test_too_many_are_refused_at_once() -> None:
    with Origin(silent) as origin:
        loans = lender(origin, limit=1, waiting=0)
        conn = loans.lend(soon())
        begun = time.monotonic()
        assert refusal(lambda: loans.lend(soon())) == 503
        assert time.monotonic() - begun < 0.1
        loans.give(conn, reusable=False)


def test_who_waits_when_it_is_closed_is_told() -> None:
    with Origin(silent) as origin, ThreadPoolExecutor() as threads:
        loans = lender(origin, limit=1)
        conn = loans.lend(soon())
        waiting = threads.submit(refusal, lambda: loans.lend(soon()))
        wait_until(lambda: loans.counts().waiting == 1)
        loans.close()
        assert waiting.result(1) == 503
        loans.give(conn, reusable=True)
        assert loans.counts() == (0, 0, 0, 0)
        assert conn.dead()


def test_connections_that_are_given_back_while_others_give_up_are_never_lost() -> None:
    with Origin(silent) as origin, ThreadPoolExecutor(8) as threads:
        loans = lender(origin, limit=2, connect=0.02)

        def use() -> int:
            lent = 0
            for _ in range(40):
                try:
                    conn = loans.lend(soon())
                except NoConnectionError:
                    continue
                lent += 1
                time.sleep(0.01)
                loans.give(conn, reusable=True)
            return lent

        lent = [one.result(20) for one in [threads.submit(use) for _ in range(8)]]
        assert all(lent)
        busy, opening, idle, waiting = loans.counts()
        assert (busy, opening, waiting) == (0, 0, 0)
        assert idle <= 2
        loans.close()


FORKS = """
import os, sys, time
from canary_middleware.upstream.address import parse
from canary_middleware.upstream.health import Health
from canary_middleware.upstream.lending import Lender

loans = Lender(parse(sys.argv[1]), 2.0, Health(), limit=1, waiting=0, idle=30.0)
conn = loans.lend(time.monotonic() + 2)
loans.give(conn, reusable=True)
child = os.fork()
lent = loans.lend(time.monotonic() + 2)
if not child:
    os._exit(lent is conn)
status = os.waitpid(child, 0)[1]
assert lent is conn, "the parent keeps its own"
assert status == 0, "the child opened its own"
"""


def test_a_child_that_is_forked_off_opens_its_own() -> None:
    with Origin(silent) as origin:
        # In a process without threads, which forks cannot take along.
        command = [sys.executable, "-c", FORKS, origin.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: len(origin.peers) == 2)


class StoppedError(BaseException):
    """As a worker is that is told to stop, in the middle of a wait."""


@contextmanager
def interrupting(before: Callable[[], None]) -> Iterator[None]:
    def interrupt(*_: object) -> None:
        before()
        raise StoppedError

    held = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, held)


@pytest.mark.parametrize("reusable", [None, True, False])
def test_who_is_stopped_while_waiting_takes_nothing_along(reusable: bool | None) -> None:
    with Origin(silent) as origin:
        loans = lender(origin, limit=1)
        conn = loans.lend(soon())

        def before() -> None:  # what was waited for comes in the very moment
            if reusable is not None:
                loans.give(conn, reusable=reusable)

        with interrupting(before), pytest.raises(StoppedError):
            loans.lend(soon(5.0))
        assert loans.counts() == (int(reusable is None), 0, int(reusable is True), 0)
        loans.give(conn, reusable=False)
        loans.close()
