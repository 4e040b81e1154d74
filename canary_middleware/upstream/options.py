"""What both applications check of their settings before anything depends on them."""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterator

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.headers import Trust
from canary_middleware.upstream.settings import LONGEST, Timeouts


def settled(
    origin: Origin, timeouts: Timeouts, trust: Trust, tls: ssl.SSLContext | None,
    *, connections: int, waiting: int, idle: float,
) -> ssl.SSLContext | None:  # fmt: skip
    """The TLS context to use; none for a server without TLS.

    Raises:
        ConfigurationError: a setting is of the wrong kind, or out of its bounds.
    """
    problems = [
        *_kinds(timeouts, trust),
        *_numbers(connections, waiting, idle),
        *_tls_problems(origin, tls),
    ]
    if problems:
        raise ConfigurationError(problems)
    return (tls or ssl.create_default_context()) if origin.scheme == "https" else None


def _kinds(timeouts: object, trust: object) -> Iterator[Problem]:
    if not isinstance(timeouts, Timeouts):
        hint = "write Timeouts(connect=2.0, start=30.0)"
        yield Problem("timeouts", f"is {type(timeouts).__name__}, not Timeouts", hint)
    if not isinstance(trust, Trust):
        hint = 'write Trust(networks=["10.0.0.0/8"])'
        yield Problem("trust", f"is {type(trust).__name__}, not Trust", hint)


def _numbers(connections: object, waiting: object, idle: object) -> Iterator[Problem]:
    for name, value, least in (("connections", connections, 1), ("waiting", waiting, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            yield Problem(name, f"{value!r} is not a whole number of at least {least}", "raise it")
    number = isinstance(idle, (int, float)) and not isinstance(idle, bool)
    if not number or not math.isfinite(idle) or not 0 <= idle <= LONGEST:  # type: ignore[arg-type,operator]
        hint = "less than the upstream keeps a connection"
        yield Problem("idle", f"{idle!r} is not a number of seconds up to {LONGEST:.0f}", hint)


def _tls_problems(origin: Origin, tls: object) -> Iterator[Problem]:
    if tls is None:
        return
    if not isinstance(tls, ssl.SSLContext):
        hint = "leave it out to verify against the system's authorities"
        yield Problem("tls", f"is {type(tls).__name__}, not an ssl.SSLContext", hint)
    elif origin.scheme != "https":
        yield Problem("tls", "the URL is not one of https", "write https://, or leave it out")
