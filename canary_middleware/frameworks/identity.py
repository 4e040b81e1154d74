"""Ways of saying who a visitor is, one after another."""

from __future__ import annotations

from collections.abc import Callable

from canary_middleware.core.model import Visitor
from canary_middleware.core.validate import is_async
from canary_middleware.engine.views import RequestView
from canary_middleware.errors import ConfigurationError, Problem

Identifier = Callable[[RequestView], Visitor | str | None]


def first_of(*identifiers: Identifier) -> Identifier:
    """``identify`` that asks each of these until one knows the visitor.

    Raises:
        ConfigurationError: there is none, or one is a coroutine function or cannot be called.
    """
    problems = [
        Problem(f"first_of, argument {number}", *wrong)
        for number, identifier in enumerate(identifiers, 1)
        if (wrong := _wrong(identifier))
    ]
    if not identifiers:
        problems.append(Problem("first_of", "asks nobody", "first_of(jwt_subject(...), ...)"))
    if problems:
        raise ConfigurationError(problems)

    def identify(view: RequestView) -> Visitor | str | None:
        for identifier in identifiers:
            found = identifier(view)
            if found:
                return found
        return None

    return identify


def _wrong(identifier: object) -> tuple[str, str] | None:
    if not callable(identifier):
        return f"is {type(identifier).__name__}, which cannot be called", "pass a function"
    if is_async(identifier):
        return "is async", "await it in an `async def identify` of your own"
    return None
