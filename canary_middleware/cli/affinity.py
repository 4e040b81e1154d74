"""``affinity``: the claims of shared affinity, for operators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import click

from canary_middleware import claims, verbs
from canary_middleware.claims import Count, Placed
from canary_middleware.cli import whom
from canary_middleware.cli.asking import asks, be_sure, yes_option
from canary_middleware.cli.connection import Author, Connection, authored, connected
from canary_middleware.cli.naming import a_rollout_argument, release_option
from canary_middleware.cli.show import Row, print_json, print_table, say
from canary_middleware.core.claims import claim_key
from canary_middleware.core.model import Cohort, Memory
from canary_middleware.core.snapshot import Lane
from canary_middleware.core.state import Plan
from canary_middleware.overview.wording import ago
from canary_middleware.stores import StateStore

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{22}")

_rollout = a_rollout_argument
_subject = click.option("--subject", metavar="ID", help="Somebody who was identified.")
_cookie = click.option("--cookie", metavar="VALUE", help="The visitor cookie of a browser.")
_release = release_option("Of which release.  [default: the current one]")


def _a_key(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _KEY.fullmatch(value):
        raise click.BadParameter("not a key as `canary affinity list` shows them", ctx, param)
    return value


@click.group()
def affinity() -> None:
    """Whom the store remembers: list, count, show, revoke.

    Subjects are stored as keyed hashes. --subject and --cookie compute them under
    CANARY_BUCKET_SECRET and CANARY_SECRET_KEYS, or what the file of --config says, and print none.
    """


@affinity.command(
    "list",
    epilog="""\b
Example:
  canary affinity list checkout --limit 100
""",
)
@_rollout
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=20,
    show_default=True,
    help="Claims at most.",
)
@_release
@connected
def list_(connection: Connection, rollout: str, limit: int, release: str | None) -> None:
    """Claims, in no order."""
    with connection.store() as store:
        lane = _lane(connection, store, rollout, release)
        found, more = claims.first(claims.listed(store, lane), limit)
    if connection.as_json:
        shape = {"claims": [_claim(held) for held in found], "more": more}
        print_json({**_head(lane), **shape})
        return
    if found:
        print_table(_COLUMNS, [_row(held) for held in found])
    else:
        say(f"{rollout}: no claims")
    if more:
        say("and more; `canary affinity count` counts them")
    _note(lane)


@affinity.command(
    epilog="""\b
Example:
  canary affinity count checkout
"""
)
@_rollout
@_release
@connected
def count(connection: Connection, rollout: str, release: str | None) -> None:
    """How many claims there are, and what their subjects get."""
    with connection.store() as store:
        lane = _lane(connection, store, rollout, release)
        found = claims.count(store, lane)
    if connection.as_json:
        print_json({**_head(lane), **_counted(found)})
        return
    say(f"{rollout}: {claims.claims(found.total)}")
    say(f"  pinned in this epoch: {_sides(found.pinned)}")
    say(f"  served now: {_sides(found.served)}")
    say(f"  of an older epoch or release: {found.older}")
    _note(lane)


@affinity.command(
    epilog="""\b
Example:
  canary affinity show checkout --subject alice
"""
)
@_rollout
@_subject
@_cookie
@_release
@connected
def show(
    connection: Connection,
    rollout: str,
    subject: str | None,
    cookie: str | None,
    release: str | None,
) -> None:
    """The claim of one subject."""
    if bool(subject) == bool(cookie):
        raise click.UsageError("give one of --subject and --cookie")
    with connection.store() as store:
        lane = _lane(connection, store, rollout, release)
        key = _key_of(connection, lane, subject, cookie)
        held = claims.found(store, lane, key)
    if connection.as_json:
        print_json({**_head(lane), "claim": _claim(held) if held else None})
    elif held is not None:
        print_table(_COLUMNS, [_row(held)])
    else:
        say(f"{rollout}: no claim under {key}")
    _note(lane, quiet=connection.as_json)


@affinity.command(
    epilog="""\b
Examples:
  canary affinity revoke checkout --subject alice --why "ticket 4711"
  canary affinity revoke checkout --all --yes
"""
)
@_rollout
@_subject
@_cookie
@click.option("--key", callback=_a_key, metavar="KEY", help="As `list` shows it.")
@click.option("--all", "everybody", is_flag=True, help="All claims of the rollout.")
@yes_option
@_release
@connected
@authored
def revoke(
    connection: Connection,
    author: Author,
    rollout: str,
    subject: str | None,
    cookie: str | None,
    key: str | None,
    everybody: bool,
    yes: bool,
    release: str | None,
) -> None:
    """Forget claims, here and in every process.

    Whoever had one is placed anew at the next request: by the own bucket, under the present weight.
    --all asks on a terminal and needs --yes elsewhere.
    """
    if sum(map(bool, (subject, cookie, key, everybody))) != 1:
        raise click.UsageError("give one of --subject, --cookie, --key and --all")
    if everybody and asks(connection, yes=yes):
        _ask(connection, rollout, release)
    with connection.store() as store:
        lane = _lane(connection, store, rollout, release)
        keys = None if everybody else [key or _key_of(connection, lane, subject, cookie)]
        gone = claims.revoke(store, rollout, keys, by=author.by, why=author.why)
    if connection.as_json:
        print_json({"rollout": rollout, "revoked": gone})
    else:
        said = f"{rollout}: {claims.claims(gone)} revoked"
        say(said if gone else f"{said}, the store had none; every process was told all the same")
        _note(lane)


def _ask(connection: Connection, rollout: str, release: str | None) -> None:
    with connection.store() as store:
        _lane(connection, store, rollout, release)  # whoever misspelt it need not be asked
    be_sure(f"{rollout}: all claims are forgotten and everybody is placed anew", rollout=rollout)


def _lane(connection: Connection, store: StateStore, rollout: str, release: str | None) -> Lane:
    claims.keeper(store)
    found = verbs.status(store)
    return whom.lane_of(connection.namespace, connection.configuration, found, rollout, release)


def _key_of(connection: Connection, lane: Lane, subject: str | None, cookie: str | None) -> str:
    configuration = connection.configuration
    asked = (
        whom.identified(configuration, subject)
        if subject
        else whom.carrying(configuration, connection.namespace, cookie or "")
    )
    return claim_key(lane.track.key, asked.drawn.kind, asked.drawn.subject)


def _note(lane: Lane, *, quiet: bool = False) -> None:
    plan = lane.entry.plan if lane.entry else Plan.from_rollout(lane.track.rollout)
    if plan.affinity is Memory.COOKIE and not quiet:
        say(f"note: {lane.name} remembers places in the visitor's cookie, not in the store")


# --- shapes -----------------------------------------------------------------------------------

_COLUMNS: Final = ("KEY", "PINNED", "SERVED", "EPOCH", "PERIOD", "FORGOTTEN IN")


def _row(held: Placed) -> Row:
    claim = held.listed.claim
    return Row((
        held.listed.key,
        claim.cohort.value,
        held.serves.cohort.value if held.serves else "placed anew",
        str(claim.epoch),
        str(claim.period),
        ago(held.listed.left),
    ))  # fmt: skip


def _head(lane: Lane) -> Mapping[str, Any]:
    rollout = lane.track.rollout
    return {"rollout": lane.name, "release": rollout.canary, "epoch": lane.epoch}


def _claim(held: Placed) -> Mapping[str, Any]:
    claim = held.listed.claim
    return {
        "key": held.listed.key,
        "cohort": claim.cohort.value,
        "served": held.serves.cohort.value if held.serves else None,
        "reason": held.serves.reason.value if held.serves else None,
        "epoch": claim.epoch,
        "period": claim.period,
        "left": held.listed.left,
    }


def _counted(found: Count) -> Mapping[str, Any]:
    return {
        "claims": found.total,
        "pinned": {cohort.value: found.pinned.get(cohort, 0) for cohort in Cohort},
        "served": {cohort.value: found.served.get(cohort, 0) for cohort in Cohort},
        "older": found.older,
    }


def _sides(number: Mapping[Cohort, int]) -> str:
    return ", ".join(f"{cohort.value} {number.get(cohort, 0)}" for cohort in Cohort)
