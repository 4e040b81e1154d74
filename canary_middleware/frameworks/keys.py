"""Clients that are known by an API key."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Container, Iterable
from typing import Any, Final

from canary_middleware.core.validate import as_bytes
from canary_middleware.engine.views import RequestView, header_name
from canary_middleware.errors import ConfigurationError, Problem

logger = logging.getLogger("canary_middleware")

PREFIX: Final = "api-key:"
"""Of every subject here, so that nobody can send the id of a user as a key."""

LONGEST: Final = 512
"""Characters of a key; no one uses longer ones, and each is hashed."""

Known = Container[str] | Callable[[str], bool]


def api_key(
    header: str = "X-API-Key", known: Known | None = None
) -> Callable[[RequestView], str | None]:
    """``identify`` by an API key; the subject is the key with :data:`PREFIX` before it.

    Args:
        header: where the key stands.
        known: the keys that count: a list or set, compared in constant time; anything else with
            ``in``; or a function that must not block. ``None``: whoever sends a key is somebody,
            because the application refuses what it does not know.

    Raises:
        ConfigurationError: no header has this name, or ``known`` is a text or nothing to ask.
    """
    _check(header, known)
    is_known = _asking(known)
    seen: set[str] = set()

    def identify(view: RequestView) -> str | None:
        key = view.header(header)
        if not key:
            return None
        if len(key) <= LONGEST and is_known(key):
            return PREFIX + key
        if "unknown" not in seen:
            seen.add("unknown")
            logger.debug("an API key is unknown; its sender is anonymous (logged once)")
        return None

    return identify


def _check(header: str, known: object) -> None:
    problems = []
    try:
        header_name(header)
    except ValueError as error:
        problems.append(Problem("api_key, header", str(error), "such as X-API-Key"))
    askable = known is None or callable(known) or hasattr(known, "__contains__")
    if isinstance(known, (str, bytes)) or not askable:
        hint = 'known=["..."], a set, or a function of the key'
        problems.append(Problem("api_key, known", f"is {type(known).__name__}", hint))
    if problems:
        raise ConfigurationError(problems)


def _asking(known: Any) -> Callable[[str], bool]:
    if known is None:
        return bool
    if isinstance(known, Iterable):
        return _one_of([as_bytes(key) for key in known])
    return known if callable(known) else lambda key: key in known


def _one_of(keys: list[bytes]) -> Callable[[str], bool]:
    def is_known(key: str) -> bool:
        # All of them, always: how long it takes tells nothing about which one was nearly right.
        given = as_bytes(key)
        return sum([hmac.compare_digest(given, each) for each in keys]) > 0

    return is_known
