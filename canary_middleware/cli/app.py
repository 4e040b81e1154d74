"""The group of all verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

import click

from canary_middleware import __version__
from canary_middleware.cli import (
    affinity,
    alert,
    changes,
    completion,
    demo,
    doctor,
    drill,
    explain,
    kill,
    looks,
    panel,
    simulate,
    token,
    watch,
)
from canary_middleware.cli.failing import fail, unwritten
from canary_middleware.cli.following import INTERRUPTED
from canary_middleware.cli.grouping import Verbs
from canary_middleware.errors import CanaryError

_HELP: Final = """Progressive delivery: who is on which version, and everybody back with one word.

Options follow the verb. Those that move many people ask on a terminal and need --yes elsewhere;
`kill` never asks. `canary VERB --help` has examples.

\b
Exit codes:
  0  done
  1  refused: it does not fit the phase, or there is no such rollout; where it was waited for the
     end of a rollout: rolled back or killed
  2  usage or configuration
  3  the store is unreachable, or what it holds cannot be read
  4  kill: told to every process that listens, but the store could not keep it
  5  start --wait: the time is over and the rollout goes on
  6  done, but what it has to say, or a file that was asked for, could not be written
  130  interrupted
"""


@click.group(
    cls=Verbs,
    help=_HELP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """All verbs."""


for _title, _commands in (
    ("Look", (
        looks.status, watch.watch, panel.panel, looks.history, explain.explain, doctor.doctor,
    )),
    ("Move one rollout", (
        changes.start, changes.weight, *changes.MOVES, changes.resume, changes.promote,
        changes.rollback, changes.finish, changes.rebase,
    )),
    ("Emergency", (kill.kill, kill.revive)),
    ("Rehearse", (simulate.simulate, drill.drill, alert.alert, demo.demo)),
    ("Visitors", (token.token, affinity.affinity)),
    ("This program", (completion.completion,)),
):  # fmt: skip
    cli.add_section(_title, _commands)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; errors take one line on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        # The words are kept for whoever has to show what could be typed instead.
        code = cli.main(words, prog_name="canary", standalone_mode=False, obj=tuple(words))
    except click.Abort:
        return INTERRUPTED
    except (click.ClickException, CanaryError) as error:
        return fail(error, as_json="--json" in words)
    except OSError as error:
        return unwritten(error)
    return int(code or 0)
