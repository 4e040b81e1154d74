"""Deliberately broken variants: each check of the system tests is shown to fail one of them.

A worker gets the name of its variant from its setup. A variant is a wrong configuration, a wrong
handler, or a part of :mod:`.spoiled` in the place of one that has the property under test.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from canary_middleware import Assignment, Canary, Cohort, Rescue, current
from canary_middleware.agent import Agent
from canary_middleware.agent.affinity import asker
from canary_middleware.core.model import Reason
from canary_middleware.engine.claims import Claims
from canary_middleware.engine.streams import Streams
from canary_middleware.telemetry import Telemetry
from tests.system import spoiled, spoiled_claims, spoiled_streams

__all__ = ["CHOOSERS", "POLLS", "RESCUES", "current", "spoil"]

PLAIN_RANDOM = "a plain-random cohort: each request is drawn anew"
TESTERS_PASS = "testers pass the kill switch"
NO_POLL = "an agent that hardly polls: it trusts in pushes"
SUPERSEDES_POSTS = "a kill supersedes POSTs too"
EVERYBODY_DRAWS = "every request without a cookie draws a visitor"
CREDULOUS = "a follower that lets an empty store lift the kill"
GULLIBLE = "a follower that takes an empty store, or garbage, at its word"
TIMELESS = "a follower to whom no event voids a pin"
STUBBORN = "an agent that tries again at once, ten times"
IN_STEP = "agents that come back at the full second"
LAST_WORD = "a follower that takes the push that came last for the newest"
LOYAL = "a client that stays with a master that is none any more"
OBEDIENT = "a follower that takes an older state at its word"
LEFT_BEHIND = "an agent started at import, which a fork leaves behind"
ASKS_THE_STORE = "a middleware that asks the store on each request"
FORGETS_CLAIMS = "a process that remembers no claim"
CARELESS = "claims that are read as they stand"
AGELESS = "claims of any epoch that are taken for ones of now"
PLAIN_KEYS = "claims under a plain hash"
HOARDS = "a process that remembers every claim"
FUSELESS = "a circuit that never opens"
FAILS_CLOSED = "a middleware that answers 503 without its store"
PUNCTUAL = "a middleware that trusts no cookie of another clock"
NEVER_STARTED = "a target whose start nobody looks at"
BELIEVES = "a middleware that believes a version in a header"
FORGETS = "a middleware that forgets its visitors"
COOKIE_FIRST = "a middleware that asks the cookie and not the user"
LEAKS_TIME = "a signature that is compared character by character"
LOGS_AS_IS = "a middleware that logs paths as they are"
SHOWS_ERRORS = "a middleware that shows errors to visitors"
COUNTS_BY_PATH = "telemetry that counts by path"
FORGETS_STREAMS = "a process that forgets streams that are open"
WATCHES_CANARIES = "a process that watches streams of canaries only"
HASTY = "a process that takes every move for a kill"
SAYS_GOODBYE = "a middleware that closes sockets as if all were said"


def at_random(name: str) -> Assignment:
    found = current(name)
    if found.reason is Reason.NO_VISITOR:
        return found
    lucky = random.random() < 0.1
    version = "2.0" if lucky else "1.0"
    return replace(found, cohort=Cohort.CANARY if lucky else Cohort.STABLE, version=version)


def testers_first(name: str) -> Assignment:
    found = current(name)
    if found.reason is not Reason.KILL_SWITCH:
        return found
    return replace(found, cohort=Cohort.CANARY, version="2.0", reason=Reason.TESTER)


CHOOSERS: Final[Mapping[str, Callable[[str], Assignment]]] = {
    PLAIN_RANDOM: at_random,
    TESTERS_PASS: testers_first,
}
POLLS: Final[Mapping[str, float]] = {NO_POLL: 20.0}
RESCUES: Final[Mapping[str, Rescue]] = {
    SUPERSEDES_POSTS: Rescue(methods=("GET", "HEAD", "OPTIONS", "POST")),
}
STORES: Final[Mapping[str, type[spoiled.Between]]] = {
    CREDULOUS: spoiled.Credulous,
    GULLIBLE: spoiled.Gullible,
    LAST_WORD: spoiled.LastWord,
    OBEDIENT: spoiled.Obedient,
    STUBBORN: spoiled.Stubborn,
    TIMELESS: spoiled.Timeless,
    IN_STEP: spoiled.InStep,
}
CLAIMERS: Final[Mapping[str, type[spoiled_claims.Careless]]] = {
    CARELESS: spoiled_claims.Careless,
    AGELESS: spoiled_claims.Ageless,
}
CLAIMS: Final[Mapping[str, type[Claims]]] = {
    FORGETS_CLAIMS: spoiled_claims.Amnesic,
    HOARDS: spoiled_claims.Hoarding,
    PLAIN_KEYS: spoiled_claims.Bare,
}
STREAMS: Final[Mapping[str, type[Streams]]] = {
    FORGETS_STREAMS: spoiled_streams.Oblivious,
    HASTY: spoiled_streams.Hasty,
    WATCHES_CANARIES: spoiled_streams.OneSided,
}
WRAPPERS: Final[Mapping[str, type[spoiled.Around]]] = {
    EVERYBODY_DRAWS: spoiled.WithoutMetadata,
    ASKS_THE_STORE: spoiled.Asking,
    FAILS_CLOSED: spoiled.Closed,
    PUNCTUAL: spoiled.Punctual,
    BELIEVES: spoiled.Believing,
    COOKIE_FIRST: spoiled.CookieFirst,
    FORGETS: spoiled.Forgetful,
    SAYS_GOODBYE: spoiled_streams.Goodbye,
    LEAKS_TIME: spoiled.Leaking,
    LOGS_AS_IS: spoiled.Logging,
    SHOWS_ERRORS: spoiled.Talkative,
}


def telemetry(variant: str) -> Telemetry | None:
    return spoiled.CountsByPath() if variant == COUNTS_BY_PATH else None


def spoil(variant: str, canary: Canary, store_url: str) -> None:
    """Exchange what a variant does differently inside of the package's own parts."""
    if variant in STORES:
        store: Any = STORES[variant](canary.store)
        canary.agent = Agent(canary.engine, store, namespace=canary.namespace)
    engine = canary.engine
    if variant in CLAIMERS:
        claimer: Any = CLAIMERS[variant](canary.store, store_url, canary.namespace)
        canary.asker = asker(engine, claimer, 1.0)
    if variant in CLAIMS:
        engine.claims = CLAIMS[variant](engine.clock, engine.recorder.count)
    if variant in STREAMS:
        engine.streams = STREAMS[variant]()
    if variant == FUSELESS:
        engine.claims.circuit = spoiled_claims.Fuseless()
    if variant == LOYAL:
        loyal = spoiled.loyal(store_url, canary.namespace)
        canary.agent = Agent(canary.engine, loyal, namespace=canary.namespace)
    if variant == LEFT_BEHIND:
        canary.arrive_blocking()
        os.register_at_fork(after_in_child=partial(setattr, canary, "awake", True))


def asgi(variant: str, app: Any, canary: Canary) -> Any:
    """An ASGI application with a broken middleware around it."""
    return WRAPPERS[variant](app, canary) if variant in WRAPPERS else app


def target(variant: str, app: Any) -> Any:
    """A target with broken care for its start."""
    return spoiled.Pretending(app) if variant == NEVER_STARTED else app
