"""Verbs that move one rollout."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import click

from canary_middleware import verbs
from canary_middleware.cli.connection import (
    Author,
    Connection,
    a_duration,
    a_rollout,
    a_weight,
    authored,
    connected,
)
from canary_middleware.cli.following import follow
from canary_middleware.cli.show import print_json, print_json_line, say
from canary_middleware.core.state import Document, Entry
from canary_middleware.core.status import silence
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview import doubts, shapes
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore
from canary_middleware.verbs import Status

_rollout = click.argument("rollout", callback=a_rollout)
_release = click.option("--release", metavar="LABEL", help="Which canary label.")
_blindly = click.option("--yes", is_flag=True, help="Although stable does not answer its probe.")


@click.command()
@_rollout
@click.option(
    "--weight", callback=a_weight, metavar="WEIGHT", help="Stay at this weight, do not ramp."
)
@_release
@click.option("--again", is_flag=True, help="Although this release was rolled back.")
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
    wait: bool,
    timeout: int | None,
) -> int:
    """Make a release current and begin its ramp.

    Running processes say what it is: start the application first.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout belongs to --wait")
    options = {"weight": weight, "release": release, "again": again}
    document, entry = _do(connection, author, verbs.start, rollout, **options)
    if not wait:
        _say(connection, document, rollout, entry)
        return 0
    _say(connection, document, rollout, entry, stream=True)
    if not entry.plan.course.automatic:
        say("canary: nothing moves this release but people: its ramp has no bake", err=True)
    return follow(connection, rollout, entry.release, document, timeout)


@click.command()
@_rollout
@click.argument("weight", callback=a_weight, metavar="WEIGHT")
@_release
@_blindly
@connected
@authored
def weight(
    connection: Connection,
    author: Author,
    rollout: str,
    weight: int,
    release: str | None,
    yes: bool,
) -> None:
    """Set the share of visitors on canary by hand; the ramp pauses."""
    if not yes:
        _see_stable(connection, rollout, release, weight)
    _change(connection, author, verbs.weight, rollout, weight=weight, release=release)


def _move(verb: Callable[..., Document], text: str) -> click.Command:
    @click.command(verb.__name__, help=text)
    @_rollout
    @_release
    @connected
    @authored
    def move(connection: Connection, author: Author, rollout: str, release: str | None) -> None:
        _change(connection, author, verb, rollout, release=release)

    return move


MOVES: Final = (
    _move(verbs.pause, "Stop the ramp at its present weight."),
    _move(verbs.approve, "Enter the step that waits for a person."),
)


@click.command()
@_rollout
@_release
@_blindly
@connected
@authored
def rollback(
    connection: Connection, author: Author, rollout: str, release: str | None, yes: bool
) -> None:
    """Everybody gets stable; the release needs `start --again` then.

    Where stable is another server that does not answer its probe, it needs --yes: it would move
    everybody there. `kill` never asks.
    """
    if not yes:
        _see_stable(connection, rollout, release, 0)
    _change(connection, author, verbs.rollback, rollout, release=release)


def _see_stable(connection: Connection, rollout: str, release: str | None, weight: int) -> None:
    """Refuse to send people back to a server that is not there."""
    with connection.store() as store:
        message = doubts.silent_stable(store, rollout, release, weight)
    if message:
        hint = "start its server first; or go back all the same with --yes"
        raise VerbRefusedError(message, rollout=rollout, hint=hint)


@click.command()
@_rollout
@_release
@click.option("--skip-approval", is_flag=True, help="Although a step before that needs one.")
@connected
@authored
def resume(
    connection: Connection,
    author: Author,
    rollout: str,
    release: str | None,
    skip_approval: bool,
) -> None:
    """Go on with the first step at or above the present weight."""
    options = {"release": release, "skip_approval": skip_approval}
    _change(connection, author, verbs.resume, rollout, **options)


@click.command()
@_rollout
@_release
@click.option("--yes", is_flag=True, help="Although the evidence does not say so: do not ask.")
@connected
@authored
def promote(
    connection: Connection, author: Author, rollout: str, release: str | None, yes: bool
) -> None:
    """Everybody gets the canary, and keeps it if the store goes away.

    Of a measured release whose evidence does not speak for it yet, it asks on a terminal and needs
    --yes elsewhere.
    """
    if not yes:
        _be_sure(connection, rollout, release)
    _change(connection, author, verbs.promote, rollout, release=release)


def _be_sure(connection: Connection, rollout: str, release: str | None) -> None:
    with connection.store() as store:
        message = doubts.early_promotion(store, rollout, release)
    if not message:
        return
    if not sys.stdin.isatty():
        hint = "promote it all the same with --yes"
        raise VerbRefusedError(message, rollout=rollout, hint=hint)
    if not click.confirm(f"{shown(message)}\nPromote it all the same?", err=True):
        raise VerbRefusedError(f"{rollout}: nothing was changed", rollout=rollout)


@click.command()
@_rollout
@_release
@click.option("--early", is_flag=True, help="Although its rollback window is open.")
@connected
@authored
def finish(
    connection: Connection, author: Author, rollout: str, release: str | None, early: bool
) -> None:
    """Close a promoted release; its old side can leave the code."""
    _change(connection, author, verbs.finish, rollout, release=release, early=early)


@click.command()
@_rollout
@click.option("--stable", metavar="LABEL", help="Which label, where processes declare several.")
@_release
@connected
@authored
def rebase(
    connection: Connection, author: Author, rollout: str, stable: str | None, release: str | None
) -> None:
    """Take over the stable label that a hot-fix declares; nobody is moved."""
    _change(connection, author, verbs.rebase, rollout, stable=stable, release=release)


def _change(
    connection: Connection,
    author: Author,
    verb: Callable[..., Document],
    rollout: str,
    **options: Any,
) -> None:
    document, entry = _do(connection, author, verb, rollout, **options)
    _say(connection, document, rollout, entry)


def _do(
    connection: Connection,
    author: Author,
    verb: Callable[..., Document],
    rollout: str,
    **options: Any,
) -> tuple[Document, Entry]:
    with connection.store() as store:
        try:
            document = verb(store, rollout, by=author.by, why=author.why, **options)
        except VerbRefusedError as error:
            raise unknown(store, connection, rollout) or error from None
        state = document.rollouts[rollout]
        entry = state.entries[options["release"] or state.current or ""]
        if entry.weight and (silent := silence(store.processes(), rollout, entry.release)):
            say(f"canary: {shown(f'{rollout}: {silent}')}; stable answers there", err=True)
    return document, entry


def _say(
    connection: Connection, document: Document, rollout: str, entry: Entry, *, stream: bool = False
) -> None:
    if connection.as_json:
        shape = shapes.change(document, rollout, entry)
        print_json_line(shape) if stream else print_json(shape)
    else:
        state = document.rollouts[rollout]
        say(f"{sentence(rollout, state, entry)}; revision {document.revision}")


def unknown(store: StateStore, connection: Connection, rollout: str) -> VerbRefusedError | None:
    """The better refusal where neither the state nor any process knows the rollout."""
    known = known_rollouts(verbs.status(store))
    if rollout in known:
        return None
    nothing = (
        "nothing is known there: start an application that declares it, or check --namespace"
        if connection.missing is None
        else f"there is no such file yet: {connection.missing}"
    )
    return doubts.unknown_rollout(rollout, connection.namespace, known, nothing)


def known_rollouts(found: Status) -> list[str]:
    """Those in the state and those that processes declare, by name."""
    return sorted(found.known)
