"""``canary.toml`` and ``CANARY_*``: what the constructor of ``Canary`` takes, as text.

A variable wins over the file, an argument in code over both. Mistakes are collected, never raised
one by one, and what the facade finds is told with its place in the file or the variable.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from canary_middleware.config.kinds import SETTINGS
from canary_middleware.config.reader import Key, Reader, address, file_of
from canary_middleware.core.model import Rollout
from canary_middleware.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from canary_middleware.canary import Canary
    from canary_middleware.engine.engine import Identify


@dataclass(frozen=True, slots=True)
class Configuration:
    """What file and environment say.

    Attributes:
        rollouts: as declared; a field that is wrong holds a stand-in, and a problem tells of it.
        settings: keyword arguments of :class:`~canary_middleware.canary.Canary`.
        problems: everything that was wrong so far.
        file: the file that was read, if there was one.
    """

    rollouts: tuple[Rollout, ...]
    settings: Mapping[str, Any]
    problems: tuple[Problem, ...]
    file: Path | None
    _places: Mapping[Key, str] = field(default_factory=dict)
    _reported: frozenset[Key] = frozenset()

    def placed(self, found: Sequence[Problem]) -> list[Problem]:
        """What the facade found, with its place here, without what is known already."""
        return [
            Problem(self._place(problem.place), problem.message, problem.hint)
            for problem in found
            if address(problem.place)[0] not in self._reported
        ]

    def _place(self, place: str) -> str:
        (name, field), rest = address(place)
        if name in SETTINGS:
            return self._places.get((name, ""), self._unset(name)) + rest
        table = self._places.get((name, ""))
        if table is None:
            return place  # a rollout that was declared in code
        return self._places.get((name, field), f"{table}.{field}" if field else table)

    def _unset(self, name: str) -> str:
        variable = f"CANARY_{name.upper()}"
        return f"{self.file}:{name} or {variable}" if self.file else variable


def load(path: str | Path | None = None, environ: Mapping[str, str] = os.environ) -> Configuration:
    """Read file and environment; mistakes are in :attr:`Configuration.problems`.

    Args:
        path: of the file; by default ``CANARY_CONFIG``, else ``canary.toml`` in the working
            directory, else no file.
        environ: where the variables are.
    """
    reader = Reader()
    file = file_of(path, environ)
    folder = file.parent if file else Path()
    written = reader.secrets(reader.file(file), folder)
    if "snapshot_path" in written:
        written["snapshot_path"] = folder / written["snapshot_path"]
    settings = {**written, **reader.secrets(reader.variables(environ), Path())}
    rollouts = reader.rollouts(settings.pop("rollouts", {}))
    return Configuration(
        rollouts=tuple(rollouts),
        settings=settings,
        problems=tuple(reader.problems),
        file=file,
        _places=reader.places,
        _reported=frozenset(reader.reported),
    )


def canary_from(
    path: str | Path | None = None,
    *,
    identify: Identify | None = None,
    rollouts: Sequence[Rollout] = (),
    environ: Mapping[str, str] = os.environ,
    **overrides: Any,
) -> Canary:
    """The facade that file and environment describe.

    Args:
        path: of the file; by default ``CANARY_CONFIG``, else ``canary.toml`` in the working
            directory, else no file.
        identify: who a request belongs to, which only code can say.
        rollouts: more rollouts, such as those whose audience has a predicate.
        environ: where the variables are.
        overrides: arguments of :class:`~canary_middleware.canary.Canary` that win over both.

    Raises:
        ConfigurationError: every mistake at once, of the file, of variables and of the whole.
    """
    # The command line reads the file, too, and needs nothing of what serves requests.
    from canary_middleware.canary import Canary

    found = load(path, environ)
    arguments = {**found.settings, **overrides}
    try:
        canary = Canary(*found.rollouts, *rollouts, identify=identify, **arguments)
    except ConfigurationError as error:
        raise ConfigurationError([*found.problems, *found.placed(error.problems)]) from None
    if found.problems:
        canary.stop()
        raise ConfigurationError(found.problems)
    return canary
