"""A machine that has the command line and nothing else: an environment of its own, elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import venv
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

import canary_middleware

NAME = "canary-middleware"


class CliOnly:
    """The package with its extra ``redis``, what these need, and no application.

    Distributions are copied from where the tests run, so that nothing is downloaded.

    Args:
        directory: of its own; commands run in an empty one below it.
    """

    def __init__(self, directory: Path) -> None:
        self._desk = directory / "desk"
        self._desk.mkdir()
        place = directory / "environment"
        venv.create(place, with_pip=False, symlinks=True)
        self._python = place / "bin" / "python"
        (site,) = place.glob("lib/python*/site-packages")
        package = Path(canary_middleware.__file__).parent
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package, site / package.name, ignore=leave)
        for name in sorted(_needed(NAME, ("redis",)) - {NAME}):
            _copy(name, site)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Its interpreter, with neither the environment nor the folder of this one."""
        return subprocess.run(
            [self._python, "-I", *arguments], env={"LANG": "C.UTF-8"}, cwd=self._desk,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    def canary(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.python("-m", "canary_middleware.cli", *words)

    def has(self, names: Sequence[str]) -> list[str]:
        """Which of these can be imported there."""
        code = "import sys, importlib.util as u; print(*filter(u.find_spec, sys.argv[1:]))"
        return self.python("-c", code, *names).stdout.split()


def _needed(name: str, extras: Sequence[str] = ()) -> set[str]:
    """A distribution with all that it requires here."""
    found = {name}
    for text in metadata.requires(name) or ():
        one = Requirement(text)
        if any(_applies(one, extra) for extra in ("", *extras)):
            found |= _needed(one.name, tuple(one.extras))
    return found


def _applies(one: Requirement, extra: str) -> bool:
    return one.marker is None or one.marker.evaluate({"extra": extra})


def _copy(name: str, site: Path) -> None:
    found = metadata.distribution(name)
    for file in _files(found):
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(found.locate_file(file)), target)


def _files(found: metadata.Distribution) -> Iterator[Path]:
    for file in found.files or ():
        path = Path(file)
        if ".." not in path.parts and path.suffix != ".pyc":  # scripts lie beside the packages
            yield path
