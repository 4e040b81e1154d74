"""What serves a version: an application, by the interface that its signature tells, or a URL."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import parse

App = TypeVar("App")


def is_asgi(app: object) -> bool:
    """Whether a callable takes ``(scope, receive, send)``."""
    return callable(app) and _takes(app, 3)


def is_wsgi(app: object) -> bool:
    """Whether a callable takes ``(environ, start_response)`` and answers without being awaited."""
    return callable(app) and not inspect.iscoroutinefunction(app) and _takes(app, 2)


def is_upstream(app: object) -> bool:
    """Whether an application passes requests on to another server, which can be unreachable."""
    return getattr(app, "is_upstream", False) is True


def application(given: App | str, place: str, upstream: Callable[[str], App]) -> App:
    """What serves a version, of what was written down for it.

    Args:
        given: an application, or the URL of an upstream.
        place: what the setting is called.
        upstream: makes one of a URL; needs an extra.

    Raises:
        ConfigurationError: the URL is none of an upstream, or the extra is missing.
    """
    if not isinstance(given, str):
        return given
    parse(given, place)  # whose errors name the place
    try:
        return upstream(given)
    except ModuleNotFoundError as error:
        hint = "pip install 'canary-middleware[upstream]'"
        raise ConfigurationError([Problem(place, str(error), hint)]) from error


def _takes(app: Callable[..., object], arguments: int) -> bool:
    try:
        inspect.signature(app).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature, written in C
        return True
    return True
