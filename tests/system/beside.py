"""Checks of broken variants: they mostly wait, so those of one module run side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import RedisServer
from tests.system.rig import Rig

AT_ONCE = 4


@dataclass(frozen=True)
class Trial:
    """One broken variant.

    Attributes:
        check: what has to notice it, around a Redis of its own.
        failure: what it says then.
        error: as what.
    """

    check: Callable[[Rig, RedisServer], object]
    failure: str
    error: type[AssertionError] = AssertionError

    def run(self, directory: Path, namespace: str, setup: Mapping[str, Any]) -> None:
        directory.mkdir()
        with (
            RedisServer(directory) as server,
            Rig(directory, server.url, namespace, **setup) as rig,
        ):
            self.check(rig, server)


class Trials:
    """The outcomes of all trials of a module.

    Args:
        trials: by name.
        directory: for logs and files.
        namespace: of each shop.
        setup: what all workers have in common.
    """

    def __init__(
        self, trials: Mapping[str, Trial], directory: Path, namespace: str, **setup: Any
    ) -> None:
        self._trials = trials
        with ThreadPoolExecutor(AT_ONCE) as pool:
            self._outcomes: Mapping[str, Future[None]] = {
                name: pool.submit(trial.run, directory / str(number), namespace, setup)
                for number, (name, trial) in enumerate(trials.items())
            }

    def noticed(self, name: str) -> None:
        """The check failed, with the words that it should."""
        trial = self._trials[name]
        with pytest.raises(trial.error, match=trial.failure):
            self._outcomes[name].result()
