"""Whom a question is about, and the lane that answers it, from what is known without a process."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from canary_middleware.cli.changing import known_rollouts
from canary_middleware.config import Configuration
from canary_middleware.core import cookie as cookies
from canary_middleware.core.duration import format_duration
from canary_middleware.core.model import Rollout, Visitor
from canary_middleware.core.routing import Drawn
from canary_middleware.core.snapshot import Lane, Track, compile_snapshot
from canary_middleware.core.state import Document, Plan
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.validate import (
    as_bytes,
    key_problems,
    rollout_problems,
    secret_problems,
)
from canary_middleware.errors import ConfigurationError, Problem, TokenError, VerbRefusedError
from canary_middleware.verbs import Status

_HINT = "the application's own; with another one the buckets are others"
_KEYS_HINT = "the application's own; with others its cookies cannot be read"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whom the question is about.

    Attributes:
        visitor: who was identified.
        drawn: what buckets are drawn by.
        cookie: what the browser carries, where one was asked about.
        notes: what the answer leaves out.
    """

    visitor: Visitor | None
    drawn: Drawn
    cookie: cookies.Cookie | None = None
    notes: tuple[str, ...] = ()


def identified(configuration: Configuration, subject: str, groups: Sequence[str] = ()) -> Asked:
    """Somebody whom ``identify`` returned.

    Raises:
        ConfigurationError: there is no bucket secret here.
    """
    secret = configuration.settings.get("bucket_secret")
    if secret is None:
        missing = Problem("CANARY_BUCKET_SECRET", "is missing", _HINT)
        raise ConfigurationError([*configuration.problems, missing])
    _raise(secret_problems(secret, "bucket_secret", _HINT))
    visitor = Visitor(subject, frozenset(groups))
    return Asked(visitor, Drawn.identified(visitor))


def carrying(configuration: Configuration, namespace: str, value: str) -> Asked:
    """The browser with this visitor cookie.

    Raises:
        ConfigurationError: the keys that sign it are not here.
        VerbRefusedError: the cookie is not accepted.
    """
    keys = configuration.settings.get("secret_keys", ())
    if not keys:
        missing = Problem("CANARY_SECRET_KEYS", "is missing", _KEYS_HINT)
        raise ConfigurationError([*configuration.problems, missing])
    _raise(key_problems(keys, "CANARY_SECRET_KEYS"))
    codec = TokenCodec([as_bytes(key) for key in keys], namespace, "visitor")
    try:
        verified = codec.verify(value.encode("utf-8", "surrogateescape"))
        cookie = cookies.read(verified, time.time())
    except TokenError as error:
        message = f"the cookie is {error.why}"
        raise VerbRefusedError(message, hint="a request with it counts as a new visitor") from error
    notes = tuple(_cookie_notes(configuration, cookie))
    return Asked(None, Drawn.anonymous(cookie.id), cookie, notes)


def _cookie_notes(configuration: Configuration, cookie: cookies.Cookie) -> Iterable[str]:
    if cookie.binding:
        yield "somebody signed in with this cookie: an audience may decide before the bucket"
    if "bucket_secret" not in configuration.settings:
        yield "no bucket_secret is set here; if the application has one, its buckets differ"


def _raise(problems: Sequence[Problem]) -> None:
    if problems:
        raise ConfigurationError(problems)


def lane_of(
    namespace: str, configuration: Configuration, found: Status, name: str, release: str | None
) -> Lane:
    """The lane of a rollout under the present state.

    Args:
        namespace: where.
        configuration: tells testers and denied visitors, and the bucket secret.
        found: the present state.
        name: of the rollout.
        release: of which release; ``None`` for the current one.

    Raises:
        VerbRefusedError: nobody knows such a rollout or release.
    """
    rollout = _rollout(configuration, found, name, release)
    _raise(rollout_problems([rollout]))
    secret = as_bytes(configuration.settings.get("bucket_secret", b""))
    # The kill key counts, although perhaps no process has made a record of it yet.
    document = replace(found.document or Document("0"), kills=found.kills)
    return compile_snapshot([Track.of(rollout, namespace, secret)], document).lanes[0]


def _rollout(
    configuration: Configuration, found: Status, name: str, release: str | None
) -> Rollout:
    declared = [rollout for rollout in configuration.rollouts if rollout.name == name]
    plans = [
        *(s.current.plan for s in found.rollouts if s.name == name and s.current),
        *(entry.plan for s in found.rollouts if s.name == name for entry in s.entries),
        *(process.plans[name] for process in found.processes if name in process.plans),
    ]
    known = [*declared, *(_undeclared(name, plan) for plan in plans)]
    for rollout in known:
        if release in (None, rollout.canary):
            return rollout
    if known:
        names = ", ".join(sorted({rollout.canary for rollout in known}))
        unknown = f"{name}: release {release} is unknown"
        raise VerbRefusedError(unknown, rollout=name, hint=f"known releases: {names}")
    written = {rollout.name for rollout in configuration.rollouts}
    others = sorted(written.union(known_rollouts(found)))
    hint = f"known are: {', '.join(others)}" if others else "no file, process or state knows any"
    raise VerbRefusedError(f"{name}: there is no such rollout", rollout=name, hint=hint)


def _undeclared(name: str, plan: Plan) -> Rollout:
    return Rollout(
        name, plan.stable, plan.canary, plan.paths, plan.methods, plan.exclude,
        policy=plan.policy, session=format_duration(plan.session),
        affinity=plan.affinity, claim_life=format_duration(plan.claim_life),
    )  # fmt: skip
