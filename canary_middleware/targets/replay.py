"""What is kept of a request until it is certain that it need not run a second time."""

from __future__ import annotations

import io
from collections.abc import MutableMapping
from typing import Any, Final

from canary_middleware.core.rescue import MAX_REPLAY

Scope = MutableMapping[str, Any]
Environ = dict[str, Any]

COPIED: Final = ("state", "session")


def fresh(scope: Scope) -> Scope:
    """A copy of an ASGI scope: applications write into it, and into what it holds.

    What they change deeper down (a list within the session) is not undone.
    """
    copy = {**scope}
    copy["headers"] = list(copy["headers"])
    for key in COPIED:
        if copy.get(key) is not None:
            copy[key] = {**copy[key]}
    return copy


def restore_session(used: Scope, pristine: Scope) -> None:
    """Undo what a superseded canary wrote into the session of a middleware around this one.

    That middleware saves the very object that it made, so its content has to be put back.
    """
    session, before = used.get("session"), pristine.get("session")
    if session is not None and before is not None and session != before:
        session.clear()
        session.update(before)
        pristine["session"] = session


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
