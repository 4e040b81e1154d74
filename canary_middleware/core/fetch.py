"""When a request without a cookie may draw a new visitor id (Fetch Metadata, W3C).

A browser that opens a page for the first time sends many requests before the first answer is there.
If each of them drew an id, the last Set-Cookie would win and the visitor would see two versions.
And a cross-site POST that comes back from a payment page arrives without a SameSite=Lax cookie
although the visitor has one: drawing there would overwrite it.
"""

from __future__ import annotations

from canary_middleware.core.model import SAFE_METHODS

FIRST_PARTY = frozenset({"same-origin", "same-site"})
API_MODES = frozenset({"cors", "same-origin", "websocket"})
API_DESTINATIONS = frozenset({"empty", "websocket"})


def may_draw(method: str, site: str | None, mode: str | None, dest: str | None) -> bool:
    """Whether this request may be somebody's first.

    Args:
        method: upper case.
        site: ``Sec-Fetch-Site``, or ``None`` if absent; likewise ``mode`` and ``dest``.

    Returns:
        ``True`` for a top-level navigation (unless it is a cross-site one with an unsafe method),
        for a first-party fetch, and where no Sec-Fetch header came at all.
    """
    if site is None and mode is None and dest is None:
        return True
    if mode == "navigate":
        return dest == "document" and (site != "cross-site" or method in SAFE_METHODS)
    return site in FIRST_PARTY and mode in API_MODES and dest in API_DESTINATIONS
