"""The address of a webhook: its parts, what of it may be shown, and what may be wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from canary_middleware.core.reading import MAX_TEXT
from canary_middleware.errors import Problem

EXAMPLE: Final = "https://hooks.example.com/canary"
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        secure: by TLS.
        host: name or address.
        port: of it.
        path: with the query, as it goes into the request line.
    """

    secure: bool
    host: str
    port: int
    path: str


def target_of(url: str) -> Target:
    """The parts of an address that was checked by :func:`url_problems`."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(secure, parts.hostname or "", parts.port or (443 if secure else 80), path)


def host_of(url: str) -> str:
    """Host and port of an address; never its path, its query or a password in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "?"
    return f"{parts.hostname or '?'}{f':{port}' if port else ''}"


def url_problems(url: Any, place: str) -> Iterator[Problem]:
    """The mistake in an address; never shows it, as its path may be a secret."""
    hint = f'such as "{EXAMPLE}"'
    if not isinstance(url, str):
        yield Problem(place, f"is {type(url).__name__}, not text", hint)
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        yield Problem(place, "is no address", hint)
        return
    for wrong, better in _wrong(url, parts, port):
        yield Problem(place, wrong, better or hint)
        return


def _wrong(url: str, parts: SplitResult, port: int | None) -> Iterator[tuple[str, str]]:
    if not url.isascii() or not url.isprintable() or " " in url or len(url) > MAX_TEXT:
        yield f"is not one word of at most {MAX_TEXT} ASCII characters", ""
    if parts.scheme not in ("http", "https"):
        yield "is neither http nor https", ""
    if not _HOST.fullmatch(parts.hostname or "") or port == 0:
        yield "names no host", ""
    if "@" in parts.netloc:
        yield "holds a user or a password", "sign what is sent with a secret"
    if parts.fragment:
        yield "has a #fragment, which is never sent", "leave it out"
