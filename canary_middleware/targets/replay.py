"""What is kept of a request until it is certain that it need not run a second time."""

from __future__ import annotations

import io
from collections.abc import MutableMapping
from typing import Any, Final

from canary_middleware.core.rescue import MAX_REPLAY

Scope = MutableMapping[str, Any]
Environ = dict[str, Any]

SHARED: Final = ("state", "session")
"""Entries of a scope that belong to whoever is around us, and that applications write into."""


def fresh(scope: Scope) -> Scope:
    """A copy of an ASGI scope: applications write into it, and into what it holds.

    What they change deeper down (a list within the session) is not undone.
    """
    copy = {**scope}
    copy["headers"] = list(copy["headers"])
    for key in SHARED:
        held = copy.get(key)
        if isinstance(held, dict):
            copy[key] = {**held}
    return copy


def restore(used: Scope, pristine: Scope) -> None:
    """Undo what a superseded canary wrote into objects that a middleware around this one made.

    That middleware reads, and saves, the very object: the second run gets it with its old content.
    """
    for key in SHARED:
        held, before = used.get(key), pristine.get(key)
        if isinstance(held, dict) and before is not None:
            if held != before:
                for added in held.keys() - before.keys():
                    del held[added]
                held.update(before)
            pristine[key] = held


def replayable(environ: Environ) -> Environ | None:
    """A copy of a WSGI environ; ``None`` if the body is too large to be kept.

    A body is read here, and both the environ and its copy get their own of what was read.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    copy = {**environ}
    if length != "0":
        if not (length.isascii() and length.isdecimal() and len(length) <= len(str(MAX_REPLAY))):
            return None
        if int(length) > MAX_REPLAY:
            return None
        body = environ["wsgi.input"].read(int(length))
        environ["wsgi.input"], copy["wsgi.input"] = io.BytesIO(body), io.BytesIO(body)
    return copy
