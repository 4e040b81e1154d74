"""``token``: signs an override, with the keys of the application and nothing from the store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

import click

from canary_middleware import verbs
from canary_middleware.cli.changing import known_rollouts
from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.naming import a_rollout_argument, release_option
from canary_middleware.cli.show import print_json, say
from canary_middleware.config import Configuration
from canary_middleware.core.cookie import CookieFormat
from canary_middleware.core.duration import parse_duration
from canary_middleware.core.model import Cohort
from canary_middleware.core.override import (
    HEADER,
    KIND,
    LONGEST,
    PARAMETER,
    Override,
    cookie_names,
    mint,
)
from canary_middleware.core.state import EVERYTHING, Phase
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.validate import (
    LABEL,
    as_bytes,
    key_problems,
    namespace_problems,
    secure_problems,
)
from canary_middleware.errors import (
    ConfigurationError,
    MissingExtraError,
    Problem,
    StoreError,
    VerbRefusedError,
)
from canary_middleware.overview.wording import instant
from canary_middleware.verbs import Status

_GLANCE: Final = 0.5
"""Seconds for a look that is only a courtesy."""


def a_life(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Callback of a parameter that says for how long a token is valid."""
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from None
    if not 0 < seconds <= LONGEST:
        raise click.BadParameter(f"from 1s to {LONGEST // 86_400}d", ctx, param)
    return seconds


def a_label(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Callback of a parameter that names a release."""
    if value is not None and not LABEL.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a label of a release", ctx, param)
    return value


@click.command(
    epilog="""\b
Examples:
  canary token checkout canary --for 2h
  canary token checkout stable --for 30m --release 1.5.0 --json
"""
)
@a_rollout_argument
@click.argument("cohort", type=click.Choice([cohort.value for cohort in reversed(Cohort)]))
@click.option(
    "--for", "life", required=True, callback=a_life, metavar="TIME",
    help="Such as 90s, 30m, 2h or 7d; at most 30d.",
)  # fmt: skip
@release_option("For which canary label.  [default: the current one]", callback=a_label)
@click.option("--debug", is_flag=True, help="Works before the start, too, and may ask why.")
@connected
def token(
    connection: Connection, rollout: str, cohort: str, life: int, release: str | None, debug: bool
) -> None:
    """Sign a token that puts its bearer on one side.

    The application has to take it: Canary(overrides=...). Keys come from CANARY_SECRET_KEYS or from
    the file of --config; the last one signs.
    """
    configuration = connection.configuration
    codec, cookie = _signing(connection.name, configuration)
    release, found = _addressed(connection, rollout, release)
    now = int(time.time())
    override = Override(rollout, release, Cohort(cohort), now, now + life, debug)
    ways = _ways(mint(codec, override), cookie)
    if connection.as_json:
        print_json({**_said(override), **ways})
    else:
        _print(override, ways)
        for note in _notes(configuration):
            say(f"note: {note}")
    for why in _hindrances(found, override) if found else ():
        say(f"canary: it does not work now: {why}", err=True)


def _signing(name: str | None, configuration: Configuration) -> tuple[TokenCodec, CookieFormat]:
    settings = configuration.settings
    namespace, secure = name or settings.get("namespace"), settings.get("secure", True)
    keys = settings.get("secret_keys", ())
    problems = [*secure_problems(secure)]
    if keys:
        problems += key_problems(keys)
    else:
        hint = "CANARY_SECRET_KEYS, CANARY_SECRET_KEYS_FILE or canary.toml: the application's own"
        problems += [*configuration.problems, Problem("secret_keys", "are missing", hint)]
    if namespace:
        problems += namespace_problems(namespace, shared=True)
    else:
        hint = '--namespace or CANARY_NAMESPACE; an application that names none is "canary"'
        problems.append(Problem("namespace", "is missing", hint))
    if problems:
        raise ConfigurationError(problems)
    codec = TokenCodec([as_bytes(key) for key in keys], str(namespace), KIND)
    return codec, CookieFormat(str(namespace), secure)


def _addressed(
    connection: Connection, rollout: str, release: str | None
) -> tuple[str, Status | None]:
    """The release, and the state if it can be looked at."""
    if release is not None:
        return release, _glance(connection)
    with connection.store() as store:
        found = verbs.status(store)
    return _current(found, rollout), found


def _glance(connection: Connection) -> Status | None:
    try:
        with connection.store(_GLANCE) as store:
            return verbs.status(store)
    except (ConfigurationError, MissingExtraError, StoreError):
        return None


def _current(found: Status, rollout: str) -> str:
    for known in found.rollouts:
        if known.name == rollout and known.current is not None:
            return known.current.release
    declared = _declared(found, rollout)
    if len(declared) == 1:
        return declared[0]
    if declared:
        hint = f"say --release; declared are: {', '.join(declared)}"
        raise VerbRefusedError(f"{rollout}: none is current", rollout=rollout, hint=hint)
    names = ", ".join(known_rollouts(found)) or "none"
    raise VerbRefusedError(f"{rollout}: no such rollout", rollout=rollout, hint=f"known: {names}")


def _declared(found: Status, rollout: str) -> list[str]:
    plans = [process.plans[rollout] for process in found.processes if rollout in process.plans]
    return sorted({plan.canary for plan in plans})


def _notes(configuration: Configuration) -> Iterator[str]:
    settings = configuration.settings
    ways = ", ".join(settings.get("overrides", ()))
    taken = f"is {ways} here" if ways else "is set nowhere here"
    yield f"the application takes a token in the ways of its setting `overrides`, which {taken}"
    secure = settings.get("secure", True)
    source = "here" if "secure" in settings else "by default, and set nowhere here"
    yield f"the cookie's name follows its setting `secure`, which is {str(secure).lower()} {source}"


def _hindrances(found: Status, override: Override) -> Iterator[str]:
    """What of the present state keeps a token from deciding; docs/overrides.md has the table."""
    rollout, release = override.rollout, override.release
    entry = found.document.entry(rollout, release) if found.document else None
    if rollout in found.kills or EVERYTHING in found.kills:
        yield f"{rollout} is killed"
    if entry is None and not override.debug:
        yield f"{release} was never started; before that only a token of --debug decides"
    if entry is not None and entry.phase is Phase.ROLLED_BACK and not override.debug:
        yield f"{release} is rolled back"
    if (rollout, release) not in found.declared:
        yield f"no running process declares {release}"


def _ways(text: str, cookie: CookieFormat) -> Mapping[str, str]:
    name, *_ = cookie_names(cookie)
    return {"token": text, "header": HEADER, "cookie": name, "query": PARAMETER}


def _said(override: Override) -> Mapping[str, object]:
    return {
        "rollout": override.rollout,
        "release": override.release,
        "cohort": override.cohort.value,
        "debug": override.debug,
        "until": override.until,
    }


def _print(override: Override, ways: Mapping[str, str]) -> None:
    kind = ", debug" if override.debug else ""
    what = f"{override.cohort.value}, release {override.release}{kind}"
    say(f"{override.rollout}: {what}, until {instant(override.until)} UTC")
    say(f"  header  {ways['header']}: {ways['token']}")
    say(f"  cookie  {ways['cookie']}={ways['token']}")
    say(f"  query   ?{ways['query']}={ways['token']}")
