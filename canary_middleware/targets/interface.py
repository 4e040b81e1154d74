"""Which interface an application speaks, as far as its signature tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable


def is_asgi(app: object) -> bool:
    """Whether a callable takes ``(scope, receive, send)``."""
    return callable(app) and _takes(app, 3)


def is_wsgi(app: object) -> bool:
    """Whether a callable takes ``(environ, start_response)`` and answers without being awaited."""
    return callable(app) and not inspect.iscoroutinefunction(app) and _takes(app, 2)


def is_upstream(app: object) -> bool:
    """Whether an application passes requests on to another server, which can be unreachable."""
    return getattr(app, "is_upstream", False) is True


def _takes(app: Callable[..., object], arguments: int) -> bool:
    try:
        inspect.signature(app).bind(*[None] * arguments)
    except TypeError:
        return False
    except ValueError:  # a callable without a signature, written in C
        return True
    return True
