"""The plainest shapes of values in a file, and the mistake that one is not what it should be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class WrongError(Exception):
    """One value is not what it should be."""

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def a_text(value: object) -> str:
    """A text."""
    if not isinstance(value, str):
        hint = f'write "{value}"' if isinstance(value, (bool, int, float)) else 'write "..."'
        raise WrongError(f"is {type(value).__name__}, not text", hint)
    return value


def group(value: object, hint: str = "[rollouts.checkout]") -> dict[str, Any]:
    """A table, whose members are checked one by one."""
    if not isinstance(value, dict):
        raise WrongError(f"is {type(value).__name__}, not a table", hint)
    return value


def members(value: object, known: Iterable[str], hint: str) -> dict[str, Any]:
    """A table with no other members than these."""
    table, known = group(value, hint), tuple(known)
    for name in table:
        if name not in known:
            raise WrongError(f"{name} is unknown", f"known are: {', '.join(known)}")
    return table
