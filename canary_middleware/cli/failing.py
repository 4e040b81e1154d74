"""What an error means to a script: an exit code, and one line or one object on standard error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

import click

from canary_middleware.cli.show import print_json_line, say
from canary_middleware.errors import (
    CanaryError,
    ConfigurationError,
    MissingExtraError,
    NotPersistedError,
    StoreCorruptError,
    StoreError,
    VerbRefusedError,
)
from canary_middleware.overview.wording import shown

REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
NOT_PERSISTED: Final = 4
UNWRITTEN: Final = 6

# Of click 8.2 and newer; before that it prints the help by itself.
_HELP: Final[Any] = getattr(click.exceptions, "NoArgsIsHelpError", ())

# Error, code, one word for machines, what stands in front of it. The first that fits.
_FAILURES: Final[Sequence[tuple[type[Exception], int, str, str]]] = (
    (VerbRefusedError, REFUSED, "refused", ""),
    (click.ClickException, USAGE, "usage", ""),
    (ConfigurationError, USAGE, "configuration", ""),
    (MissingExtraError, USAGE, "extra", ""),
    (NotPersistedError, NOT_PERSISTED, "not_persisted", ""),
    (StoreCorruptError, UNREACHABLE, "corrupt",
     "the state cannot be read (`canary kill` works): "),
    (StoreError, UNREACHABLE, "unreachable", "cannot use the store: "),
)  # fmt: skip


def fail(error: click.ClickException | CanaryError, *, as_json: bool) -> int:
    """Say what was wrong, and return the exit code.

    Raises:
        CanaryError: one that no verb should meet.
    """
    for kind, code, word, prefix in _FAILURES:
        if isinstance(error, kind):
            with suppress(OSError):  # the code is told, also where nothing can be written
                _tell(error, code, word, prefix, as_json=as_json)
            return code
    raise error


def unwritten(error: OSError) -> int:
    """Say that what there is to say, or a file that was asked for, could not be written."""
    what = error.filename or "what was done, or found, is not told in full"
    with suppress(OSError):
        say(f"canary: {shown(str(what))}: {error.strerror or error}", err=True)
    return UNWRITTEN


def _tell(error: Exception, code: int, word: str, prefix: str, *, as_json: bool) -> None:
    if isinstance(error, _HELP):
        error.show()  # the whole help
    elif as_json:
        print_json_line({"error": _shape(error, code, word)}, err=True)
    else:
        for line in _lines(error):
            say(f"canary: {prefix}{line}", err=True)


def _lines(error: Exception) -> Iterator[str]:
    if isinstance(error, ConfigurationError):
        yield from (shown(str(problem)) for problem in error.problems)
    elif isinstance(error, click.ClickException):
        yield _usage(error)
    else:
        yield shown(str(error))


def _usage(error: click.ClickException) -> str:
    """On one line, with the place where more is said."""
    said = shown(error.format_message().rstrip("."))
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"{said} ({context.command_path} --help)" if context else said


def _shape(error: Exception, code: int, word: str) -> dict[str, Any]:
    """As docs/cli.md promises."""
    problems = error.problems if isinstance(error, ConfigurationError) else ()
    refused = error if isinstance(error, VerbRefusedError) else None
    return {
        "code": code,
        "kind": word,
        "message": "; ".join(_lines(error)),
        "rollout": refused.rollout if refused else None,
        "hint": (refused.hint or None) if refused else None,
        "problems": [
            {"place": one.place, "message": one.message, "hint": one.hint} for one in problems
        ],
    }
