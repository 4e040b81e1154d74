"""What a class or function takes, by its signature and its docstring."""

from __future__ import annotations

import enum
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from tests.reference.markdown import about, code, line, section, table

SILENT = ("self", "cls", "more", "args", "kwargs")


class Setting(NamedTuple):
    """One argument.

    Attributes:
        name: with stars where it takes several.
        kind: its annotation.
        default: as it is written; ``""`` where it must be given.
        meaning: as its docstring says.
    """

    name: str
    kind: str
    default: str
    meaning: str


def settings(taker: Callable[..., Any]) -> list[Setting]:
    """The arguments of a class or function."""
    told = section(taker, "Attributes") | section(taker, "Args")
    return [
        Setting(
            "*" * (parameter.kind is parameter.VAR_POSITIONAL) + name,
            _kind(parameter),
            _default(taker, parameter),
            told.get(name, ""),
        )
        for name, parameter in inspect.signature(taker).parameters.items()
        if name not in SILENT
    ]


def _default(taker: Callable[..., Any], parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return ""
    for field in fields(taker) if is_dataclass(taker) else ():
        if field.name == parameter.name and callable(field.default_factory):
            return written(field.default_factory())
    return written(parameter.default)


def _kind(parameter: inspect.Parameter) -> str:
    kind: object = parameter.annotation
    return kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind))


def written(value: object) -> str:
    """A default as code has it."""
    if value is os.environ:
        return "os.environ"
    if isinstance(value, enum.Enum):
        return repr(value.value)
    kind = type(value)
    if kind.__module__.startswith("canary_middleware") and not isinstance(value, str):
        return f"{kind.__name__}()" if value == kind() else repr(value)
    if callable(value):
        return f"{value.__module__}.{getattr(value, '__qualname__', '')}"
    return repr(value)


def described(title: str, taker: Callable[..., Any]) -> str:
    """A section about what takes settings: prose, table, other ways to make one."""
    parts = [f"## {title}", about(taker)]
    found = settings(taker)
    if any(one.meaning for one in found):
        rows = [(code(one.name), code(one.kind), code(one.default), one.meaning) for one in found]
        parts.append(table(("argument", "type", "default", "meaning"), rows))
    elif found:  # its prose says it
        parts.insert(1, code(f"{getattr(taker, '__name__', '')}({_taken(taker)})"))
    if makers := list(_makers(taker)):
        parts.append(table(("constructor", "makes"), makers))
    return "\n\n".join(parts)


def _makers(taker: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    name = getattr(taker, "__name__", "")
    for called, member in vars(taker).items() if inspect.isclass(taker) else ():
        if isinstance(member, classmethod) and not called.startswith("_"):
            maker = getattr(taker, called)
            made = str(inspect.signature(maker).return_annotation)
            if name in made:
                yield code(f"{name}.{called}({_taken(maker)})"), line(about(maker))


def _taken(maker: Callable[..., Any]) -> str:
    return ", ".join(
        f"**{name}" if one.kind is one.VAR_KEYWORD
        else name if one.default is one.empty
        else f"{name}={one.default!r}"
        for name, one in inspect.signature(maker).parameters.items()
    )  # fmt: skip
