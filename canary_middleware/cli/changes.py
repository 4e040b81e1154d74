"""Verbs that move one rollout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from canary_middleware import verbs
from canary_middleware.cli import shapes
from canary_middleware.cli.connection import (
    Author,
    Connection,
    a_rollout,
    a_weight,
    authored,
    connected,
)
from canary_middleware.cli.sentences import sentence
from canary_middleware.cli.show import print_json, say
from canary_middleware.core.declared import FIRST_REPORT
from canary_middleware.core.state import Document
from canary_middleware.errors import VerbRefusedError
from canary_middleware.stores import StateStore
from canary_middleware.verbs import Status

_rollout = click.argument("rollout", callback=a_rollout)
_release = click.option("--release", metavar="LABEL", help="Which canary label.")


@click.command()
@_rollout
@click.option(
    "--weight", callback=a_weight, metavar="WEIGHT", help="Stay at this weight, do not ramp."
)
@_release
@click.option("--again", is_flag=True, help="Although this release was rolled back.")
@connected
@authored
def start(
    connection: Connection,
    author: Author,
    rollout: str,
    weight: int | None,
    release: str | None,
    again: bool,
) -> None:
    """Make a release current and begin its ramp.

    Running processes say what it is: start the application first.
    """
    options = {"weight": weight, "release": release, "again": again}
    _change(connection, author, verbs.start, rollout, **options)


@click.command()
@_rollout
@click.argument("weight", callback=a_weight, metavar="WEIGHT")
@_release
@connected
@authored
def weight(
    connection: Connection, author: Author, rollout: str, weight: int, release: str | None
) -> None:
    """Set the share of visitors on canary by hand; the ramp pauses."""
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
    _move(verbs.resume, "Go on with the first step at or above the present weight."),
    _move(verbs.promote, "Everybody gets the canary, and keeps it if the store goes away."),
    _move(verbs.rollback, "Everybody gets stable; the release needs `start --again` then."),
)


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
    with connection.store() as store:
        try:
            document = verb(store, rollout, by=author.by, why=author.why, **options)
        except VerbRefusedError as error:
            raise _unknown(store, connection, rollout) or error from None
    state = document.rollouts[rollout]
    entry = state.entries[options["release"] or state.current or ""]
    if connection.as_json:
        print_json(shapes.change(document, rollout, entry))
    else:
        say(f"{sentence(rollout, state, entry)}; revision {document.revision}")


def _unknown(store: StateStore, connection: Connection, rollout: str) -> VerbRefusedError | None:
    """The better refusal where neither the state nor any process knows the rollout."""
    known = known_rollouts(verbs.status(store))
    if rollout in known:
        return None
    if connection.missing is not None:
        hint = f"there is no such file yet: {connection.missing}; {FIRST_REPORT}"
    elif known:
        hint = f"known are: {', '.join(known)}; a new one needs a process that declares it"
    else:
        start = "start an application that declares it, or check --namespace"
        hint = f"nothing is known there: {start}; {FIRST_REPORT}"
    message = f"{rollout}: namespace {connection.namespace} knows no such rollout"
    return VerbRefusedError(message, rollout=rollout, hint=hint)


def known_rollouts(found: Status) -> list[str]:
    """Those in the state and those that processes declare, by name."""
    return sorted(found.known)
