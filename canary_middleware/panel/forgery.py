"""Requests that another site makes a browser send (CSRF), and how they are told. Pure.

Three answers to one question, each enough alone: cookies are ``SameSite=Strict``; what the browser
says about where a request comes from (Fetch Metadata, https://www.w3.org/TR/fetch-metadata/, and
``Origin``, RFC 6454 section 7) must not name another site; and what changes something carries a
token that only a page of ours could know.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request

FIELD: Final = "csrf"
HEADER: Final = "x-canary-csrf"
_OURS: Final = frozenset({"same-origin", "none"})
_PORTS: Final = {"http": 80, "https": 443}


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site sends this.

    ``Sec-Fetch-Site`` counts most, because no proxy can make it wrong; browsers without it, and
    pages on plain HTTP, are known by their ``Origin``. Who sends neither is no browser of today,
    and needs the token.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OURS
    origin = headers.get("origin")
    return origin is not None and not _same(origin, headers.get("host", ""))


def _same(origin: str, host: str) -> bool:
    # The scheme is left out: TLS may have ended before us.
    try:
        there = urlsplit(origin)
        here = urlsplit(f"//{host}")
        port = _PORTS.get(there.scheme)
        wanted = there.hostname, there.port or port
        return bool(there.hostname) and wanted == (here.hostname, here.port or port)
    except ValueError:
        return False


def token_of(secret: str) -> str:
    """What forms carry, by a secret that the browser holds in a cookie."""
    return hmac.new(secret.encode(), b"canary panel form", hashlib.sha256).hexdigest()


def fits(given: str, secret: str) -> bool:
    """Whether that was in a form that we made for this browser; in constant time."""
    return hmac.compare_digest(given.encode(), token_of(secret).encode())


def token(request: Request) -> str:
    """The value of the hidden field ``csrf``, or of the header ``X-Canary-CSRF``.

    Empty for bearers of a token in ``Authorization``, who need none.
    """
    found: str = getattr(request.state, "csrf", "")
    return found
