"""What all verbs that move one rollout have in common: ask, do it, and say what it made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from canary_middleware import verbs
from canary_middleware.cli.asking import be_sure
from canary_middleware.cli.connection import Author, Connection
from canary_middleware.cli.show import print_json, print_json_line, say
from canary_middleware.core.command import Command
from canary_middleware.core.declared import declared_plan
from canary_middleware.core.state import Document, Entry, Verb
from canary_middleware.core.status import silence
from canary_middleware.errors import VerbRefusedError
from canary_middleware.overview import doubts, shapes
from canary_middleware.overview.consequences import consequence, foreseen
from canary_middleware.overview.sentences import sentence
from canary_middleware.overview.wording import shown
from canary_middleware.stores import StateStore
from canary_middleware.verbs import Status


def ask(connection: Connection, command: Command, *doubt: str) -> str:
    """Say whom it hits and ask.

    Returns:
        The release that was asked about: another one may be current once somebody has answered.

    Raises:
        VerbRefusedError: it does not fit, or the answer was no.
    """
    with connection.store() as store:
        try:
            if command.verb is Verb.START:
                plan = declared_plan(store.processes(), command.rollout, command.release)
                command = replace(command, plan=plan)
            before, after = foreseen(store, command)
        except VerbRefusedError as error:
            raise unknown(store, connection, command.rollout) or error from None
    release = command.plan.canary if command.plan else command.release
    release = release or after.rollouts[command.rollout].current or ""
    be_sure(*filter(None, doubt), consequence(before, after, command), rollout=command.rollout)
    return release


def change(
    connection: Connection,
    author: Author,
    verb: Callable[..., Document],
    rollout: str,
    **options: Any,
) -> None:
    """Do it and say what it made."""
    document, entry = done(connection, author, verb, rollout, **options)
    tell(connection, document, rollout, entry)


def done(
    connection: Connection,
    author: Author,
    verb: Callable[..., Document],
    rollout: str,
    **options: Any,
) -> tuple[Document, Entry]:
    """Do it; the state afterwards and the release that was meant.

    Raises:
        VerbRefusedError: it does not fit, or nobody knows the rollout.
    """
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


def tell(
    connection: Connection, document: Document, rollout: str, entry: Entry, *, stream: bool = False
) -> None:
    """Say what a verb made of a release; with ``stream`` on one line, for more is to come."""
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
