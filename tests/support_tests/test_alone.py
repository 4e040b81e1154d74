"""Tests that want to be alone are, and are not kept out by those that share."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.support.alone import turn
from tests.support.servers import wait_until


class Someone(threading.Thread):
    """Takes a turn and keeps it until told to leave."""

    def __init__(self, directory: Path, *, alone: bool) -> None:
        super().__init__(daemon=True)
        self._directory = directory
        self._alone = alone
        self._leave = threading.Event()
        self.entered = threading.Event()
        self.start()

    def run(self) -> None:
        with turn(self._directory, alone=self._alone):
            self.entered.set()
            self._leave.wait(10)

    def waits(self) -> bool:
        return not self.entered.wait(0.2)

    def leave(self) -> None:
        self._leave.set()
        self.join(10)


def test_others_run_side_by_side(tmp_path: Path) -> None:
    first, second = (Someone(tmp_path, alone=False) for _ in range(2))
    wait_until(lambda: first.entered.is_set() and second.entered.is_set())
    first.leave()
    second.leave()


def test_one_that_wants_to_be_alone_waits_and_is_not_overtaken(tmp_path: Path) -> None:
    first = Someone(tmp_path, alone=False)
    wait_until(first.entered.is_set)
    lonely = Someone(tmp_path, alone=True)
    assert lonely.waits()
    later = Someone(tmp_path, alone=False)
    assert later.waits()
    first.leave()
    wait_until(lonely.entered.is_set)
    assert later.waits()
    lonely.leave()
    wait_until(later.entered.is_set)
    later.leave()
