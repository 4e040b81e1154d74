"""The parameters that name a rollout or a release, and how a shell completes them."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from canary_middleware import verbs
from canary_middleware.cli.connection import Connection, a_rollout
from canary_middleware.core.validate import NAME
from canary_middleware.verbs import Status

F = TypeVar("F", bound=Callable[..., Any])

PATIENCE: Final = 0.3
"""Seconds in which the store has to answer a shell that completes; after that there is nothing."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@:/-]{0,63}")
"""Labels that mean nothing to a shell, which splits and expands what it is given."""


def _looked(ctx: click.Context, read: Callable[[Status], Collection[str]]) -> Collection[str]:
    """What the store tells in time; nothing on any error: a prompt is no place for one."""
    found: list[str] = []
    typed = ctx.params
    where = Connection(typed.get("store"), typed.get("namespace"), typed.get("config"), False)

    def look() -> None:
        try:
            with where.store(PATIENCE) as store:
                found.extend(read(verbs.status(store)))
        except Exception:  # noqa: BLE001  # a shell completes in the middle of a line: whatever it is, say nothing
            return

    # Finding a host may take longer than any time-out of a connection.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(PATIENCE)
    return tuple(found)


def _items(names: Iterable[str], begun: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(begun)]


def rollouts(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Rollouts in the state and in processes."""

    def read(found: Status) -> Collection[str]:
        return [name for name in found.known if NAME.fullmatch(name)]

    return _items(_looked(ctx, read), begun)


def releases(ctx: click.Context, param: click.Parameter, begun: str) -> list[CompletionItem]:
    """Canary labels of the rollout that was typed, of all where none was."""
    # Click has not taken the arguments in where an option still lacks its value.
    rollout = ctx.params.get("rollout") or next(iter(ctx.args), None)

    def read(found: Status) -> Collection[str]:
        told = [(one.name, entry.release) for one in found.rollouts for entry in one.entries]
        every = [*told, *found.declared]
        labels = [label for name, label in every if rollout in (None, name)]
        return [label for label in labels if _PLAIN.fullmatch(label)]

    return _items(_looked(ctx, read), begun)


def a_rollout_argument(command: F) -> F:
    """The argument of a verb that has to be told which rollout."""
    return click.argument("rollout", callback=a_rollout, shell_complete=rollouts)(command)


def any_rollout_argument(command: F) -> F:
    """The argument of a verb that means all of them without it."""
    made = click.argument("rollout", callback=a_rollout, required=False, shell_complete=rollouts)
    return made(command)


def release_option(text: str = "Which canary label.", **more: Any) -> Callable[[F], F]:
    """The option that names a release."""
    return click.option("--release", metavar="LABEL", help=text, shell_complete=releases, **more)
