"""What a store that processes share promises, with real processes."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.synchronize import Barrier as Line
from typing import Any, Final

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.claims import Claim
from canary_middleware.core.state import Verb
from canary_middleware.core.transitions import Command, apply
from canary_middleware.testing.affinity import FIRST
from canary_middleware.testing.contract import Contract, Opener, audit, started

PROCESSES: Final = 4
SUBJECTS: Final = 40
TURNS: Final = 15
_PATIENCE: Final = 60.0

Task = Callable[[Any, int, Line], Any]
"""What each process does with its store; it gets its number, and the line where all start."""


class SharedContract(Contract):
    """For stores of everything; ``opener`` must survive a pickle, as other processes get it."""

    def test_one_process_wins_each_claim(self, opener: Opener) -> None:
        answers = raced(opener, claim_all)
        assert all(answer == answers[0] for answer in answers)
        assert len({claim.bucket for claim in answers[0]}) > 1, "all won by one: no race at all"

    def test_one_process_creates_it(self, opener: Opener, store: Any) -> None:
        created = raced(opener, create)
        assert sorted(created) == [False] * (PROCESSES - 1) + [True]
        assert store.load().document == started(f"ab{created.index(True)}")

    def test_no_change_is_lost(self, opener: Opener, store: Any) -> None:
        first = started()
        assert store.swap(None, first, audit(first))
        assert sum(raced(opener, move_weights)) == PROCESSES * TURNS
        document = store.load().document
        assert document.revision == first.revision + PROCESSES * TURNS
        revisions = [line.revision for line in store.history(None, 1_000)]
        assert revisions == list(range(document.revision, 0, -1))

    def test_a_kill_gets_through_whatever_others_do(self, opener: Opener, store: Any) -> None:
        first = started()
        assert store.swap(None, first, audit(first))
        assert raced(opener, kill_among_others) == [True] + [False] * (PROCESSES - 1)
        assert store.load().document.killed("checkout") is not None


def create(store: Any, number: int, line: Line) -> bool:
    """A state where there is none."""
    document = started(f"ab{number}")
    line.wait(_PATIENCE)
    return bool(store.swap(None, document, audit(document)))


def claim_all(store: Any, number: int, line: Line) -> list[Claim]:
    """Everybody's place, drawn by me; each is asked for by all at the same moment."""
    winners = []
    for key in range(SUBJECTS):
        line.wait(_PATIENCE)
        winners += store.claim([replace(FIRST, key=str(key), bucket=number, limit=SPACE)])
    return winners


def move_weights(store: Any, number: int, line: Line) -> int:
    """So many changes; how many of them were written."""
    written = 0
    while written < TURNS:
        document = store.load().document
        command = Command(Verb.WEIGHT, "checkout", weight=1_000 * number + written)
        changed = apply(document, command, 6.0)
        written += store.swap(document.key, changed, audit(changed))
    return written


def kill_among_others(store: Any, number: int, line: Line) -> bool:
    """One kills, all others claim without a pause; whether it was this one."""
    if number == 0:
        return bool(store.kill("checkout", by="me", why="now", now=7.0).killed("checkout"))
    for key in range(SUBJECTS * TURNS):
        store.claim([replace(FIRST, key=f"{number}-{key}")])
    return False


def raced(opener: Opener, task: Task) -> list[Any]:
    """What each of some processes answers, all of them starting at once."""
    context = multiprocessing.get_context("forkserver")
    # What takes longest to import is so once, and not by each process of each race.
    context.set_forkserver_preload([__name__, "canary_middleware.stores", "redis"])
    line = context.Barrier(PROCESSES)
    pipes, processes = [], []
    try:
        for number in range(PROCESSES):
            ours, theirs = context.Pipe(duplex=False)
            values = (pickle.dumps(opener), task, number, line, theirs)
            process = context.Process(target=_play, args=values, daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            processes.append(process)
        return [_answer(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()
        for pipe in pipes:
            pipe.close()


def _answer(pipe: Any) -> Any:
    assert pipe.poll(_PATIENCE), "a process does not answer"
    answer, failed = pipe.recv()
    assert not failed, failed
    return answer


def _play(opener: bytes, task: Task, number: int, line: Line, pipe: Any) -> None:
    try:
        store = pickle.loads(opener)()  # our own, of a moment ago
        line.wait(_PATIENCE)
        try:
            pipe.send((task(store, number, line), ""))
        finally:
            store.close()
    except Exception:  # noqa: BLE001  # whatever it is, it is told where it can be read
        pipe.send((None, traceback.format_exc()))
