"""Durations as people write them: ``"90s"``, ``"30m"``, ``"2h"``, ``"7d"``."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TEXT: Final = re.compile(r"\s*(\d{1,9})\s*([smhd])\s*", re.ASCII)


def parse_duration(text: object) -> int:
    """``"30m"`` → 1800 (seconds).

    Raises:
        ValueError: a bare number, or no duration; it says which.
    """
    if not isinstance(text, str):
        raise ValueError(f'a bare number ({text!r}) is ambiguous; write a string such as "30m"')
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is not a duration; write something like "90s", "30m" or "2h"')
    return int(found[1]) * _UNITS[found[2]]


def format_duration(seconds: int) -> str:
    """1800 → ``"30m"``: in the largest unit that divides it."""
    for unit, size in reversed(_UNITS.items()):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
