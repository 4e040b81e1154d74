"""Reads the code of a project, within bounds, for the names of rollouts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

from canary_middleware.doctor.examined import Searched
from canary_middleware.doctor.mentions import mentions

SUFFIXES: Final = frozenset({".py", ".pyi", ".toml", ".html", ".htm", ".jinja", ".jinja2", ".j2"})
SKIPPED: Final = frozenset({
    "__pycache__", "build", "dist", "env", "htmlcov", "node_modules", "site-packages", "venv",
})  # fmt: skip
"""Directories of what others wrote or machines made; so are all whose name begins with a dot."""
PROJECT: Final = (
    "canary.toml", "pyproject.toml", "setup.py", "setup.cfg", "requirements.txt", "manage.py",
    ".git",
)  # fmt: skip
"""One of these makes a directory a project."""
MOST_FILES: Final = 5_000
MOST_BYTES: Final = 64 * 2**20
LARGEST: Final = 2**20
"""Bytes of one file; what is longer was made by a machine."""
MOST_SECONDS: Final = 2.0
MOST_PLACES: Final = 200
"""Places of one name."""


def is_project(directory: Path) -> bool:
    """Whether somebody works on code there."""
    return any((directory / name).exists() for name in PROJECT)


def search(
    root: Path, names: Collection[str], clock: Callable[[], float] = time.monotonic
) -> Searched:
    """Every place below ``root`` that names one of the rollouts; links are not followed."""
    if not names:
        return Searched(str(root))
    until, size, count = clock() + MOST_SECONDS, 0, 0
    found: dict[str, list[str]] = {name: [] for name in names}
    whole = True
    for path, length in _files(root):
        if count >= MOST_FILES or size + length > MOST_BYTES or clock() > until:
            whole = False
            break
        count, size = count + 1, size + length
        for name, line in mentions(_text(path), found):
            if len(found[name]) < MOST_PLACES:
                found[name].append(f"{path.relative_to(root)}:{line}")
    places = {name: tuple(lines) for name, lines in found.items()}
    return Searched(str(root), places, count, whole)


def _files(root: Path) -> Iterator[tuple[Path, int]]:
    """Files that may name a rollout, with their size; in the order of their names."""
    for directory, below, files in os.walk(root):
        below[:] = sorted(name for name in below if name not in SKIPPED and name[0] != ".")
        for name in sorted(files):
            path = Path(directory, name)
            if path.suffix not in SUFFIXES or path.is_symlink():
                continue
            try:
                length = path.stat().st_size
            except OSError:  # gone since it was listed
                continue
            if length <= LARGEST and path.is_file():
                yield path, length


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # gone, or not ours to read
        return ""
