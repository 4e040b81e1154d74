"""Versioned handlers: two functions with equal parameters behind one route."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from canary_middleware.context import current

P = ParamSpec("P")
R = TypeVar("R")


def versioned(
    rollout: str, *, canary: Callable[P, R]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Serve ``canary`` to the visitors on canary and the decorated handler to everybody else.

    Put it below the route decorator, so that the framework registers the pair::

        @app.get("/checkout")
        @versioned("checkout", canary=checkout_v2)
        def checkout(): ...

    Raises:
        TypeError: at import, if the two differ in parameters or kind. With FastAPI use
            ``canary_route`` instead, which gives each version its own dependencies and models.
    """

    def decorate(stable: Callable[P, R]) -> Callable[P, R]:
        _check(rollout, stable, canary)
        return _chooser(rollout, stable, canary)

    return decorate


def _chooser(rollout: str, stable: Callable[P, R], canary: Callable[P, R]) -> Callable[P, R]:
    if inspect.iscoroutinefunction(stable):
        awaited = cast("Callable[..., Any]", stable)
        awaited_canary = cast("Callable[..., Any]", canary)

        @functools.wraps(stable)
        async def choose_async(*args: Any, **kwargs: Any) -> Any:
            chosen = awaited_canary if current(rollout).is_canary else awaited
            return await chosen(*args, **kwargs)

        return cast("Callable[P, R]", choose_async)

    @functools.wraps(stable)
    def choose(*args: P.args, **kwargs: P.kwargs) -> R:
        return (canary if current(rollout).is_canary else stable)(*args, **kwargs)

    return choose


def _check(rollout: str, stable: Callable[..., Any], canary: Callable[..., Any]) -> None:
    if _kind(stable) != _kind(canary):
        raise TypeError(
            f"versioned({rollout!r}): {_name(stable)} is {_kind(stable)} and {_name(canary)} is "
            f"{_kind(canary)}; write both the same way"
        )
    ours, theirs = _parameters(stable), _parameters(canary)
    if ours != theirs:
        raise TypeError(
            f"versioned({rollout!r}): {_name(stable)}{inspect.signature(stable)} and "
            f"{_name(canary)}{inspect.signature(canary)} take different parameters; a framework "
            f"would check both versions' requests by the first one. Give them equal parameters, or "
            f"in FastAPI use APIRouter(route_class=canary_route({rollout!r}))"
        )


def _kind(handler: Callable[..., Any]) -> str:
    if inspect.iscoroutinefunction(handler):
        return "a coroutine function"
    if inspect.isasyncgenfunction(handler):
        return "an asynchronous generator"
    return "a generator" if inspect.isgeneratorfunction(handler) else "a plain function"


def _parameters(handler: Callable[..., Any]) -> list[tuple[object, ...]]:
    parameters = inspect.signature(handler).parameters.values()
    return [(p.name, p.kind, p.default, p.annotation) for p in parameters]


def _name(handler: Callable[..., Any]) -> str:
    return getattr(handler, "__qualname__", repr(handler))
