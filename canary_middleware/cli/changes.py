"""Verbs that move one rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import click

from canary_middleware import verbs
from canary_middleware.cli.asking import asks, yes_option
from canary_middleware.cli.changing import ask, change, done, tell
from canary_middleware.cli.connection import (
    Author,
    Connection,
    a_duration,
    a_weight,
    authored,
    connected,
)
from canary_middleware.cli.following import follow
from canary_middleware.cli.naming import a_rollout_argument, release_option
from canary_middleware.cli.show import say
from canary_middleware.core.command import Command
from canary_middleware.core.state import Document, Verb
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview import doubts

_rollout = a_rollout_argument
_release = release_option()
_blindly = click.option(
    "--anyway", is_flag=True, help="Although stable does not answer its probe; says --yes, too."
)


@click.command(
    epilog="""\b
Examples:
  canary start checkout
  canary start checkout --weight 5% --why "release train 42"
  canary start checkout --wait --timeout 2h
"""
)
@_rollout
@click.option(
    "--weight", callback=a_weight, metavar="WEIGHT", help="Stay at this weight, do not ramp."
)
@_release
@click.option("--again", is_flag=True, help="Although this release was rolled back; asks first.")
@yes_option
@click.option(
    "--wait", is_flag=True, help="Until it is promoted (exit 0), or rolled back or killed (exit 1)."
)
@click.option(
    "--timeout",
    callback=a_duration,
    metavar="TIME",
    help="With --wait: give up after so long (exit 5); it goes on.",
)
@connected
@authored
def start(
    connection: Connection,
    author: Author,
    rollout: str,
    weight: int | None,
    release: str | None,
    again: bool,
    yes: bool,
    wait: bool,
    timeout: int | None,
) -> int:
    """Make a release current and begin its ramp.

    Running processes say what it is: start the application first. A release that was rolled back
    comes back only with --again, which asks on a terminal and needs --yes elsewhere.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout belongs to --wait")
    if again and asks(connection, yes=yes):
        command = Command(Verb.START, rollout, release=release, weight=weight, acknowledge=True)
        release = ask(connection, command)
    options = {"weight": weight, "release": release, "again": again}
    document, entry = done(connection, author, verbs.start, rollout, **options)
    if not wait:
        tell(connection, document, rollout, entry)
        return 0
    tell(connection, document, rollout, entry, stream=True)
    if not entry.plan.course.automatic:
        say("canary: nothing moves this release but people: its ramp has no bake", err=True)
    return follow(connection, rollout, entry.release, document, timeout)


@click.command(
    epilog="""\b
Examples:
  canary weight checkout 12.5%
  canary weight checkout 0% --why "only testers for now"
"""
)
@_rollout
@click.argument("weight", callback=a_weight, metavar="WEIGHT")
@_release
@click.option("--anyway", is_flag=True, help="Although stable does not answer its probe.")
@connected
@authored
def weight(
    connection: Connection,
    author: Author,
    rollout: str,
    weight: int,
    release: str | None,
    anyway: bool,
) -> None:
    """Set the share of visitors on canary by hand; the ramp pauses.

    WEIGHT takes a percent sign, in steps of 0.001%. A lower one is refused without --anyway where
    stable is another server that does not answer its probe: it would move people there.
    """
    if not anyway and (silent := _silent_stable(connection, rollout, release, weight)):
        raise _silence(silent, rollout)
    change(connection, author, verbs.weight, rollout, weight=weight, release=release)


def _move(verb: Callable[..., Document], text: str) -> click.Command:
    examples = f"\b\nExample:\n  canary {verb.__name__} checkout"

    @click.command(verb.__name__, help=text, epilog=examples)
    @_rollout
    @_release
    @connected
    @authored
    def move(connection: Connection, author: Author, rollout: str, release: str | None) -> None:
        change(connection, author, verb, rollout, release=release)

    return move


MOVES: Final = (
    _move(
        verbs.pause,
        "Stop the ramp at its present weight.\n\nVisitors stay where they are: the weight is still "
        "served. `canary resume` goes on.",
    ),
    _move(
        verbs.approve,
        "Enter the step that waits for a person.\n\nA ramp waits before a step that says so; "
        "`canary status` and `canary watch` show it.",
    ),
)


@click.command(
    epilog="""\b
Examples:
  canary rollback checkout
  canary rollback checkout --yes --why "orders fail"
"""
)
@_rollout
@_release
@yes_option
@_blindly
@connected
@authored
def rollback(
    connection: Connection,
    author: Author,
    rollout: str,
    release: str | None,
    yes: bool,
    anyway: bool,
) -> None:
    """Everybody gets stable; the release needs `start --again` then.

    It asks on a terminal and needs --yes elsewhere. Where stable is another server that does not
    answer its probe, the question says so, and elsewhere it needs --anyway: it would move everybody
    there. `kill` never asks.
    """
    asked = asks(connection, yes=yes or anyway)
    silent = "" if anyway else _silent_stable(connection, rollout, release, 0)
    if asked:
        release = ask(connection, Command(Verb.ROLLBACK, rollout, release=release), silent)
    elif silent:
        raise _silence(silent, rollout)
    change(connection, author, verbs.rollback, rollout, release=release)


def _silent_stable(connection: Connection, rollout: str, release: str | None, weight: int) -> str:
    with connection.store() as store:
        return doubts.silent_stable(store, rollout, release, weight)


def _silence(message: str, rollout: str) -> VerbRefusedError:
    hint = "start its server first; or go back all the same with --anyway"
    return VerbRefusedError(message, rollout=rollout, hint=hint)


@click.command(
    epilog="""\b
Examples:
  canary resume checkout
  canary resume checkout --skip-approval --yes
"""
)
@_rollout
@_release
@click.option(
    "--skip-approval", is_flag=True, help="Although a step before that needs one; asks first."
)
@yes_option
@connected
@authored
def resume(
    connection: Connection,
    author: Author,
    rollout: str,
    release: str | None,
    skip_approval: bool,
    yes: bool,
) -> None:
    """Go on with the first step at or above the present weight.

    Past a step that needs an approval it goes only with --skip-approval, which asks on a terminal
    and needs --yes elsewhere.
    """
    if skip_approval and asks(connection, yes=yes):
        command = Command(Verb.RESUME, rollout, release=release, skip_approval=True)
        release = ask(connection, command)
    options = {"release": release, "skip_approval": skip_approval}
    change(connection, author, verbs.resume, rollout, **options)


@click.command(
    epilog="""\b
Examples:
  canary promote checkout
  canary promote checkout --yes --why "ticket 4711"
"""
)
@_rollout
@_release
@yes_option
@click.option(
    "--anyway", is_flag=True, help="Although the evidence does not say so; says --yes, too."
)
@connected
@authored
def promote(
    connection: Connection,
    author: Author,
    rollout: str,
    release: str | None,
    yes: bool,
    anyway: bool,
) -> None:
    """Everybody gets the canary, and keeps it if the store goes away.

    It asks on a terminal and needs --yes elsewhere. Where the evidence of a measured release does
    not speak for it yet, the question says so, and elsewhere it needs --anyway.
    """
    asked = asks(connection, yes=yes or anyway)
    doubt = "" if anyway else _doubt(connection, rollout, release)
    if asked:
        release = ask(connection, Command(Verb.PROMOTE, rollout, release=release), doubt)
    elif doubt:
        hint = "promote it all the same with --anyway"
        raise VerbRefusedError(doubt, rollout=rollout, hint=hint)
    change(connection, author, verbs.promote, rollout, release=release)


def _doubt(connection: Connection, rollout: str, release: str | None) -> str:
    with connection.store() as store:
        return doubts.early_promotion(store, rollout, release)


@click.command(
    epilog="""\b
Examples:
  canary finish checkout
  canary finish checkout --early --yes
"""
)
@_rollout
@_release
@click.option("--early", is_flag=True, help="Although its rollback window is open.")
@yes_option
@connected
@authored
def finish(
    connection: Connection,
    author: Author,
    rollout: str,
    release: str | None,
    early: bool,
    yes: bool,
) -> None:
    """Close a promoted release; its old side can leave the code.

    No rollback takes it back any more: it asks on a terminal and needs --yes elsewhere.
    """
    if asks(connection, yes=yes):
        command = Command(Verb.FINISH, rollout, release=release, early=early)
        release = ask(connection, command)
    change(connection, author, verbs.finish, rollout, release=release, early=early)


@click.command(
    epilog="""\b
Examples:
  canary rebase checkout
  canary rebase checkout --stable 1.4.3
"""
)
@_rollout
@click.option("--stable", metavar="LABEL", help="Which label, where processes declare several.")
@_release
@connected
@authored
def rebase(
    connection: Connection, author: Author, rollout: str, stable: str | None, release: str | None
) -> None:
    """Take over the stable label that a hot-fix declares; nobody is moved.

    A new period of evidence begins; phase, weight and everybody's place stay.
    """
    change(connection, author, verbs.rebase, rollout, stable=stable, release=release)
