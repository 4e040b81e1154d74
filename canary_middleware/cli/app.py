"""The group of all verbs, and what an error means to a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from canary_middleware import __version__
from canary_middleware.cli import (
    affinity,
    changes,
    demo,
    drill,
    explain,
    kill,
    looks,
    simulate,
    token,
    watch,
)
from canary_middleware.cli.following import INTERRUPTED
from canary_middleware.cli.show import say
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

# The first that fits.
_FAILURES: Final[Sequence[tuple[type[CanaryError], int, str]]] = (
    (VerbRefusedError, REFUSED, ""),
    (ConfigurationError, USAGE, ""),
    (MissingExtraError, USAGE, ""),
    (NotPersistedError, NOT_PERSISTED, ""),
    (StoreCorruptError, UNREACHABLE, "the state cannot be read (`canary kill` works): "),
    (StoreError, UNREACHABLE, "cannot use the store: "),
)


_HELP: Final = """Progressive delivery: who is on which version, and everybody back with one word.

\b
Exit codes:
  0  done
  1  refused: it does not fit the phase, or there is no such rollout; where it was waited for the
     end of a rollout: rolled back or killed
  2  usage or configuration
  3  the store is unreachable, or what it holds cannot be read
  4  kill: told to every process that listens, but the store could not keep it
  5  start --wait: the time is over and the rollout goes on
"""


@click.group(
    help=_HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """All verbs."""


for command in (
    demo.demo, changes.start, looks.status, watch.watch, changes.weight, *changes.MOVES,
    changes.rollback,
    changes.resume, changes.promote, changes.finish, changes.rebase, kill.kill, kill.revive,
    looks.history, explain.explain, drill.drill, affinity.affinity, token.token,
    simulate.simulate,
):  # fmt: skip
    cli.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; errors take one line on standard error."""
    try:
        code = cli.main(argv, prog_name="canary", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return USAGE
    except click.Abort:
        return INTERRUPTED
    except CanaryError as error:
        return _fail(error)
    return int(code or 0)


def _fail(error: CanaryError) -> int:
    for kind, code, prefix in _FAILURES:
        if isinstance(error, kind):
            for line in _lines(error):
                say(f"canary: {prefix}{line}", err=True)
            return code
    raise error


def _lines(error: CanaryError) -> list[str]:
    if isinstance(error, ConfigurationError):
        return [shown(str(problem)) for problem in error.problems]
    return [shown(str(error))]
