"""What mostly waits, side by side: rows with servers of their own, checks of broken variants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.reaper import reaper
from tests.support.redis import RedisServer
from tests.system.rig import Rig

AT_ONCE = 4
T = TypeVar("T")


def beside(works: Mapping[str, Callable[[], T]]) -> Mapping[str, Future[T]]:
    """What came of each; all have ended."""
    reaper()  # the one of this run, before several threads ask for it
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {name: pool.submit(work) for name, work in works.items()}


Check = Callable[[Rig, RedisServer], object]


def shop(check: Check, directory: Path, namespace: str, setup: Mapping[str, Any]) -> object:
    """A check around a Redis and a shop of its own."""
    directory.mkdir()
    with (
        RedisServer(directory) as server,
        Rig(directory, server.url, namespace, **setup) as rig,
    ):
        return check(rig, server)


class Checks:
    """What came of all checks of a module.

    Args:
        checks: by name.
        directory: for logs and files.
        namespace: of each shop.
        setup: what all workers have in common.
    """

    def __init__(
        self, checks: Mapping[str, Check], directory: Path, namespace: str, **setup: Any
    ) -> None:
        self._outcomes = beside(
            {
                name: partial(shop, check, directory / str(number), namespace, setup)
                for number, (name, check) in enumerate(checks.items())
            }
        )

    def holds(self, name: str) -> None:
        """It did; what it found is printed."""
        print(f"\n{self._outcomes[name].result()}")


@dataclass(frozen=True)
class Trial:
    """One broken variant.

    Attributes:
        check: what has to notice it.
        failure: what it says then.
        error: as what.
    """

    check: Check
    failure: str
    error: type[AssertionError] = AssertionError


class Trials(Checks):
    """The outcomes of all trials of a module; arguments as for :class:`Checks`."""

    def __init__(
        self, trials: Mapping[str, Trial], directory: Path, namespace: str, **setup: Any
    ) -> None:
        checks = {name: trial.check for name, trial in trials.items()}
        super().__init__(checks, directory, namespace, **setup)
        self._trials = trials

    def noticed(self, name: str) -> None:
        """The check failed, with the words that it should."""
        trial = self._trials[name]
        with pytest.raises(trial.error, match=trial.failure):
            self._outcomes[name].result()
