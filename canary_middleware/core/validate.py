"""Every configuration mistake at once, each with its place and what to write instead.

Here is what a :class:`canary_middleware.Canary` is set up with; what it rolls out is checked in
:mod:`.validate_rollout`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from canary_middleware.core.override import WAYS
from canary_middleware.core.token import MIN_KEY
from canary_middleware.core.validate_rollout import (
    MAX_DECLARED,
    overlap_problems,
    rollout_problems,
    target_problems,
)
from canary_middleware.core.validate_values import (
    LABEL,
    NAME,
    TOKEN,
    callable_problems,
    flag_problems,
    is_async,
    items,
    list_problems,
    matches,
    seconds_problems,
    weight_problem,
)
from canary_middleware.errors import Problem

__all__ = [
    "LABEL",
    "LONGEST",
    "MAX_DECLARED",
    "NAME",
    "as_bytes",
    "autostart_problems",
    "callable_problems",
    "flag_problems",
    "identity_problems",
    "is_async",
    "key_problems",
    "namespace_problems",
    "observer_problems",
    "overlap_problems",
    "override_problems",
    "pace_problems",
    "rollout_problems",
    "seconds_problems",
    "secret_problems",
    "secure_problems",
    "target_problems",
    "vary_problems",
    "weight_problem",
]

LONGEST: Final = 60.0
"""Seconds between two looks at the store, or of waiting for the first one, that make any sense."""

_MAKE: Final = "make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def key_problems(keys: object, place: str = "secret_keys") -> list[Problem]:
    """Mistakes in the signing keys; never shows any part of a key."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Sequence):
        wrong = f"is {type(keys).__name__}, not a list"
        return [Problem(place, wrong, "[key], or [old, new] while keys change")]
    if not keys:
        return [Problem(place, "is missing", _MAKE)]
    return [
        problem
        for index, key in enumerate(keys)
        for problem in secret_problems(key, f"{place}[{index}]", _MAKE)
    ]


def secret_problems(secret: object, place: str, hint: str) -> list[Problem]:
    """The mistake in one secret."""
    if not isinstance(secret, (str, bytes)):
        return [Problem(place, f"is {type(secret).__name__}, not str or bytes", hint)]
    size = len(as_bytes(secret))
    if size < MIN_KEY:
        return [Problem(place, f"has {size} bytes, at least {MIN_KEY} are needed", hint)]
    return []


def as_bytes(secret: str | bytes) -> bytes:
    """A secret as it enters the hash."""
    # Whatever the environment held: an encoding error would show the secret in its traceback.
    return secret.encode("utf-8", "surrogatepass") if isinstance(secret, str) else secret


def identity_problems(identify: object, secret: object) -> list[Problem]:
    """Mistakes in ``identify`` and the secret under which identified visitors are drawn."""
    hint = f"{_MAKE}; it is never rotated"
    found = []
    if identify is not None:
        found += callable_problems(
            identify, "identify", 'such as lambda view: view.header("X-User")'
        )
    if secret is not None:
        found += secret_problems(secret, "bucket_secret", hint)
    elif identify is not None:
        found += [Problem("bucket_secret", "is missing, and identify is given", hint)]
    return found


def autostart_problems(autostart: object, *, shared: bool) -> list[Problem]:
    """The mistake in the weight at which everything starts by itself, which one process may."""
    if autostart is None:
        return []
    if shared:
        hint = "with a shared store use: canary start NAME --weight 5%"
        return [Problem("autostart", "works with memory:// only", hint)]
    return weight_problem(autostart, "autostart")


def namespace_problems(namespace: str | None, *, shared: bool) -> list[Problem]:
    """Mistakes in the namespace; a shared store needs one, so that two sites cannot meet in it."""
    if namespace is None:
        missing = Problem("namespace", "is missing, and the store is shared", 'namespace="shop"')
        return [missing] if shared else []
    if not matches(NAME, namespace):
        wrong = f"{namespace!r} is not a name"
        return [Problem("namespace", wrong, "letters, digits, - and _, at most 64")]
    return []


def vary_problems(vary: object) -> list[Problem]:
    """Mistakes in the names of request headers; they go into every exposed response."""
    wrong = [name for name in items(vary) if not matches(TOKEN, name)]
    return [
        *list_problems(vary, "vary"),
        *(Problem("vary", f"{name!r} is not a header name", '["Authorization"]') for name in wrong),
    ]


def override_problems(ways: object) -> list[Problem]:
    """Mistakes in the ways in which requests may carry override tokens."""
    known = ", ".join(f'"{way}"' for way in WAYS)
    wrong = [way for way in items(ways) if way not in WAYS]
    return [
        *list_problems(ways, "overrides"),
        *(Problem("overrides", f"{way!r} is no way", f"some of {known}") for way in wrong),
    ]


def secure_problems(secure: object) -> list[Problem]:
    """The mistake in the cookie's ``secure``; a text such as ``"false"`` would be true."""
    if isinstance(secure, bool) or secure == "auto":
        return []
    return [Problem("secure", f"{secure!r} is none of the three", 'True, False or "auto"')]


def pace_problems(poll: object, first_load: object, max_staleness: object) -> list[Problem]:
    """Mistakes in how often the store is asked and how long its silence is borne."""
    found = [
        *seconds_problems(poll, "poll", "such as 0.8", LONGEST),
        *seconds_problems(first_load, "first_load", "such as 0.25", LONGEST),
    ]
    if max_staleness is not None:
        found += seconds_problems(max_staleness, "max_staleness", "or None for never")
    return found or _flapping(poll, max_staleness)


def _flapping(poll: Any, max_staleness: Any) -> list[Problem]:
    # One look may fail and the next be slow, and nothing is wrong: visitors must not change sides.
    least = 2 * poll + 1
    if max_staleness is None or max_staleness >= least:
        return []
    wrong = (
        f"{max_staleness:g} s would pass while all is well, for the store is asked every {poll:g} s"
    )
    return [Problem("max_staleness", wrong, f"at least 2 * poll + 1, here {least:g}")]


def observer_problems(telemetry: object, protocol: type) -> list[Problem]:
    """The mistake in ``telemetry``, which is a switch or answers to all names of a protocol."""
    asked = [name for name in vars(protocol) if not name.startswith("_")]
    if telemetry is None or isinstance(telemetry, bool):
        return []
    answers = all(callable(getattr(telemetry, name, None)) for name in asked)
    if answers and not isinstance(telemetry, type):
        return []
    hint = "write Telemetry(), None for the default or False for none"
    return [Problem("telemetry", f"{telemetry!r} observes nothing", hint)]
