"""Where the store is, and what every verb can be told."""

from __future__ import annotations

import functools
import math
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from canary_middleware import config, verbs
from canary_middleware.config import Configuration
from canary_middleware.core.codec import printable
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.validate import NAME, namespace_problems
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import ConfigurationError, Problem, StoreUnavailableError
from canary_middleware.stores import StateStore, open_store

PATIENCE: Final = 2.0
"""Seconds in which a store has to connect, and in which it has to answer."""

_HINT: Final = "--store redis://host:6379/0 or sqlite:///path, or CANARY_STORE"
_NAMESPACE: Final = "--namespace NAME or CANARY_NAMESPACE, as in the application"
_MEMORY: Final = "lives inside one process, which nobody else can reach"
_OTHERS: Final = "sqlite:///path, redis://, rediss:// or unix://"
_LONGEST_NAME: Final = 90
"""Characters: so that who and host fit together into the 200 that history keeps."""
_SLASHES: Final = re.compile(r"(rediss?(\+\w+)?|unix|sqlite):/")
# Host, port and database: nothing else is repeated, it may be a password.
_ADDRESS: Final = re.compile(r"([\w.-]+|\[[\da-fA-F:]+\])(:\d+)?(/\d*)?")


class NoDirectoryError(StoreUnavailableError):
    """There is no directory in which the file of the store could be."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options say; a flag wins over a variable, a variable over the file.

    Attributes:
        url: of the store.
        name: the namespace.
        path: of ``canary.toml``.
        as_json: print for machines.
    """

    url: str | None
    name: str | None
    path: str | None
    as_json: bool

    @property
    def configuration(self) -> Configuration:
        """File and environment."""
        return config.load(self.path)

    @contextmanager
    def store(self, patience: float = PATIENCE) -> Iterator[StateStore]:
        """The store, closed at the end; nothing is connected until it is asked.

        Raises:
            ConfigurationError: no store or namespace is named, or one that cannot be.
            NoDirectoryError: the store is a file, and its directory is missing.
        """
        url, namespace = self._where()
        store = open_store(url, namespace, connect_timeout=patience, timeout=patience)
        file = _file(url)
        if file is not None and not file.parent.is_dir():
            # Whoever only looks would be told that nothing was ever started.
            raise NoDirectoryError(f"there is no directory {file.parent}")
        try:
            yield store
        finally:
            store.close()

    @property
    def file(self) -> Path | None:
        """The file of the store, if it is one."""
        return _file(self._where()[0])

    @property
    def missing(self) -> Path | None:
        """The file of the store, where there is none yet."""
        file = self.file
        return None if file is None or file.exists() else file

    @property
    def namespace(self) -> str:
        """The namespace, for people."""
        return self._where()[1]

    def _where(self) -> tuple[str, str]:
        url, namespace = self.url or "", self.name or ""
        problems: list[Problem] = []
        if not (url and namespace):
            found = self.configuration
            url = url or found.settings.get("store", "")
            namespace = namespace or found.settings.get("namespace", "")
            # What else is wrong with the file must not stand in the way of a kill.
            problems += () if url and namespace else found.problems
        problems += _store_problems(url)
        missing = [Problem("namespace", "is missing", _NAMESPACE)]
        problems += namespace_problems(namespace, shared=True) if namespace else missing
        if problems:
            raise ConfigurationError(problems)
        return url, namespace


def _file(url: str) -> Path | None:
    path = url.removeprefix("sqlite:///")
    return None if path == url else Path(path).resolve()


def _store_problems(url: str) -> list[Problem]:
    if not url:
        return [Problem("store", "is missing", _HINT)]
    if url.startswith("memory:"):
        return [Problem("store", f"memory:// {_MEMORY}", _OTHERS)]
    if "://" not in url and (short := _SLASHES.match(url)):
        wrong = f"has too few slashes after {short[1]}:"
        return [Problem("store", wrong, "sqlite:///path, redis://host:6379/0, unix:///path")]
    if "://" not in url:
        meant = f"did you mean redis://{url}?" if _ADDRESS.fullmatch(url) else _OTHERS
        return [Problem("store", "does not say what it is", meant)]
    return []


@dataclass(frozen=True, slots=True)
class Author:
    """Who does something and from where, and why."""

    by: str
    why: str

    @classmethod
    def named(cls, who: str | None, why: str) -> Author:
        """Whoever ``--by`` names, from this host; by default the user who is signed in to it."""
        name = printable(who or "", _LONGEST_NAME)
        return cls(f"{name} (from {_host()})" if name else verbs.whoami(), why)


def _host() -> str:
    return printable(socket.gethostname(), _LONGEST_NAME)


def a_rollout(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of a parameter that names a rollout."""
    # A name that no rollout can have would only sit in the state, where it cannot be read.
    if value is not None and not NAME.fullmatch(value):
        everything = f"; without a name, `canary {ctx.command.name}` means every rollout"
        hint = "" if param.required else everything
        raise click.BadParameter(f"{value!r} is not a name of a rollout{hint}", ctx, param)
    return value


def a_weight(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Callback of a parameter that is a share."""
    try:
        return None if value is None else parse_weight(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


class Finite(click.FloatRange):
    """A number in a range; ``nan`` is in every one of click's, and can be told to nobody."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


def a_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Callback of a parameter that is a time."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None


Command = Callable[..., int | None]

_WHERE: Final = (
    click.option("--store", envvar="CANARY_STORE", metavar="URL", show_envvar=True,
                 help="sqlite:///path, redis://, rediss:// or unix://; passwords in the variable."),
    click.option("--namespace", envvar="CANARY_NAMESPACE", metavar="NAME", show_envvar=True,
                 help="As in the application."),
    click.option("--config", envvar="CANARY_CONFIG", metavar="FILE", show_envvar=True,
                 help="Where else to look for store and namespace.  [default: ./canary.toml]"),
    click.option("--json", is_flag=True, help="Print for machines; docs/cli.md has the shapes."),
)  # fmt: skip
_WHO: Final = (
    click.option(
        "--by", metavar="WHO", help="Who does this; history adds the host.  [default: user@host]"
    ),
    click.option("--why", metavar="TEXT", default="", help="The reason, kept in history."),
)


def connected(command: Command) -> Command:
    """The options that every verb has; the command gets a ``connection``."""

    @functools.wraps(command)
    def wrapper(
        store: str | None, namespace: str | None, config: str | None, json: bool, **rest: Any
    ) -> int | None:
        return command(Connection(store, namespace, config, json), **rest)

    for option in reversed(_WHERE):
        wrapper = option(wrapper)
    return wrapper


def authored(command: Command) -> Command:
    """The options of verbs that change something; the command gets an ``author``."""

    @functools.wraps(command)
    def wrapper(connection: Connection, by: str | None, why: str, **rest: Any) -> int | None:
        return command(connection, Author.named(by, why), **rest)

    for option in reversed(_WHO):
        wrapper = option(wrapper)
    return wrapper
