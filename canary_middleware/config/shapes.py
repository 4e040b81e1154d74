"""The plainest shapes of values in a file, and the mistake that one is not what it should be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, TypeVar

_T = TypeVar("_T")


class WrongError(Exception):
    """One value, or the member of it that ``at`` names, is not what it should be."""

    def __init__(self, message: str, hint: str, at: str = "") -> None:
        self.message = message
        self.hint = hint
        self.at = at
        super().__init__(message)


class PartlyError(Exception):
    """Members of a value are wrong, and ``rest`` is what can be checked further."""

    def __init__(self, wrong: Sequence[WrongError], rest: object) -> None:
        self.wrong = wrong
        self.rest = rest
        super().__init__("; ".join(str(one) for one in wrong))


def whole(rest: _T, wrong: Sequence[WrongError]) -> _T:
    """The value, if nothing was wrong with any of its members."""
    if wrong:
        raise PartlyError(wrong, rest)
    return rest


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


def members(
    table: dict[str, Any], known: Collection[str], at: str, wrong: list[WrongError]
) -> dict[str, Any]:
    """The members that are known; the others are noted as wrong."""
    hint = f"known are: {', '.join(known)}"
    wrong += [WrongError("is unknown", hint, f"{at}.{name}") for name in table if name not in known]
    return {name: value for name, value in table.items() if name in known}
