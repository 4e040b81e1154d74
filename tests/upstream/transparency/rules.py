"""The differences that are allowed, each with its reason: the header table as the wire shows it.

``COMMON`` is what HTTP asks of, or permits to, every intermediary. What a server in front of ours
cannot carry stands in the rules of that server: the suite counts the cases that need them.
"""

from __future__ import annotations

import re
from typing import Final

from tests.upstream.transparency.compare import Change, Rule, Rules, Side

REQUEST, ANSWER = Side.REQUEST, Side.ANSWER
DROPPED, ADDED, REPLACED = Change.DROPPED, Change.ADDED, Change.REPLACED
JOINED, MOVED, SPELLED = Change.JOINED, Change.MOVED, Change.SPELLED
ANY: Final = (DROPPED, ADDED, REPLACED, JOINED)
HEADER: Final = "header"
LOWER: Final = re.compile(rb"[^A-Z]*")

DECODED: Final = "RFC 9112 7.1: a short body is complete before it is passed on, with its length"


def _names(*names: bytes) -> frozenset[bytes]:
    return frozenset(names)


def _both(*changes: Change, names: frozenset[bytes], why: str, must: bool = False) -> Rules:
    return tuple(Rule(side, HEADER, changes, why, names, must=must) for side in Side)


def _ours(name: bytes, seen: bytes, *changes: Change) -> Rules:
    """What a proxy says of the client, in place of whatever the client says of itself."""
    values = re.compile(rb"(?i)" + seen)
    return (
        Rule(REQUEST, HEADER, (ADDED, REPLACED, *changes), TOLD, _names(name), seen=values),
        Rule(REQUEST, HEADER, (MOVED, SPELLED), TOLD, _names(name), must=True),
    )


def _becomes(side: Side, part: str, direct: bytes, seen: bytes, why: str) -> Rule:
    patterns = re.compile(direct), re.compile(seen)
    return Rule(side, part, (REPLACED,), why, direct=patterns[0], seen=patterns[1])


HOP: Final = "7.6.1: belongs to the connection, not to the message"
TOLD: Final = "the client as the proxy sees it, whatever it claims (RFC 7239, 8.1)"
VERSION: Final = "2.5: each hop has its own"
HOSTS: Final = rb"shop\.example(:\d+)?|\[::1\]:8080|10\.0\.0\.1|169\.254\.169\.254"
COMMON: Final[Rules] = (
    *_both(*ANY, MOVED, names=_names(b"connection", b"transfer-encoding"), why=HOP),
    *_both(DROPPED, names=_names(b"keep-alive", b"proxy-connection"), why=HOP, must=True),
    *_both(DROPPED, names=_names(b"upgrade"), why=HOP, must=True),
    Rule(REQUEST, HEADER, (DROPPED,), HOP, nominated=True, must=True),
    Rule(ANSWER, HEADER, (DROPPED,), HOP, nominated=True, must=True),
    Rule(REQUEST, HEADER, (DROPPED, MOVED), HOP, _names(b"te")),
    Rule(REQUEST, HEADER, (REPLACED,), HOP, _names(b"te"), seen=re.compile(rb"trailers")),
    Rule(
        REQUEST,
        HEADER,
        (DROPPED,),
        "11.7.2: a secret between the client and a forward proxy",
        _names(b"proxy-authorization"),
    ),
    Rule(
        ANSWER,
        HEADER,
        (DROPPED,),
        "11.7.1: asks for the secret of a forward proxy",
        _names(b"proxy-authenticate"),
    ),
    Rule(REQUEST, HEADER, (MOVED,), "7.2: Host comes first", _names(b"host")),
    *_ours(b"x-forwarded-for", rb"127\.0\.0\.1"),
    *_ours(b"x-forwarded-proto", rb"http"),
    *_ours(b"x-forwarded-host", HOSTS),
    *_ours(
        b"forwarded",
        rb'(for="?127\.0\.0\.1(:\d+)?"?|host="?(%b)"?|proto=http|;)*' % HOSTS,
        DROPPED,
    ),
    Rule(REQUEST, HEADER, (DROPPED,), TOLD, _names(b"x-real-ip")),
    _becomes(REQUEST, "version", rb"HTTP/1\.0", rb"HTTP/1\.1", VERSION),
    _becomes(ANSWER, "version", rb"HTTP/1\.0", rb"HTTP/1\.1", VERSION),
    Rule(
        REQUEST,
        "target",
        (REPLACED,),
        "RFC 9112 3.2.1: an origin is asked for the path alone",
        _names(b"absolute"),
    ),
    _becomes(
        ANSWER, "framing", rb"close", rb"chunked", "RFC 9112 6.3: an end that differs from a cut"
    ),
)

FIRST: Final = _names(
    b"host", b"date", b"server", b"content-type", b"content-length", b"connection",
    b"transfer-encoding",
)  # fmt: skip
DECODING: Final[Rules] = (
    _becomes(REQUEST, "framing", rb"chunked", rb"length", DECODED),
    Rule(REQUEST, HEADER, (ADDED,), DECODED, _names(b"content-length")),
)
DECODED_ANSWER: Final[Rules] = (
    _becomes(ANSWER, "framing", rb"chunked|close", rb"length", DECODED),
    Rule(ANSWER, HEADER, (ADDED,), DECODED, _names(b"content-length")),
)
NGINX: Final[Rules] = (
    *COMMON,
    *_both(MOVED, names=FIRST, why="nginx: writes what it knows first (5.3: no meaning)"),
    Rule(
        ANSWER,
        HEADER,
        (ADDED,),
        "6.6.1: a date is added where there is none; nginx: and its name",
        _names(b"date", b"server"),
    ),
    *DECODING,
)
TRAILERS: Final = "6.5.1: trailers may be dropped, and {} has none to carry them"


def _without_trailers(interface: str, *sides: Side) -> Rules:
    why = TRAILERS.format(interface)
    return tuple(Rule(side, "trailers", (DROPPED,), why) for side in sides)


OLDER: Final = _becomes(
    ANSWER, "version", rb"HTTP/1\.1", rb"HTTP/1\.0", "2.5: an older client is told its own"
)
ASGI: Final[Rules] = (
    *COMMON,
    Rule(
        REQUEST,
        HEADER,
        (SPELLED,),
        "ASGI: names of headers are in lower case (5.1: case has no meaning)",
        seen=re.compile(rb"[^A-Z]*"),
    ),
    Rule(
        ANSWER,
        HEADER,
        (SPELLED,),
        "ASGI: names of headers are in lower case (5.1: case has no meaning)",
        seen=re.compile(rb"[^A-Z]*"),
    ),
    Rule(
        ANSWER,
        "reason",
        (DROPPED, REPLACED),
        "ASGI: there is no reason phrase (RFC 9112 4: clients should ignore it)",
    ),
    *_without_trailers("ASGI", REQUEST),
)
WSGI: Final[Rules] = (
    *COMMON,
    Rule(
        REQUEST,
        HEADER,
        (SPELLED,),
        "WSGI: the case of names is lost (5.1: case has no meaning)",
        seen=re.compile(rb"[^a-z].*"),
    ),
    Rule(
        REQUEST,
        HEADER,
        (JOINED,),
        "WSGI: lines of one name are joined (5.2: with the same meaning)",
    ),
    Rule(
        REQUEST,
        HEADER,
        (DROPPED,),
        "WSGI: the server has answered what the client expects (10.1.1)",
        _names(b"expect"),
    ),
    Rule(
        REQUEST,
        HEADER,
        (MOVED,),
        "WSGI: what frames a body stands apart, and its place is lost (5.3: no meaning)",
        _names(b"content-type", b"content-length"),
    ),
    OLDER,
    *_without_trailers("WSGI", REQUEST, ANSWER),
)


def _own(server: str, *names: bytes, changes: tuple[Change, ...]) -> Rules:
    """Headers that a server writes itself; each name may be anywhere, whatever the others do."""
    why = f"{server}: writes it itself"
    return tuple(Rule(ANSWER, HEADER, changes, why, _names(name)) for name in names)


UVICORN: Final[Rules] = (*ASGI, *_without_trailers("uvicorn", ANSWER))
HYPERCORN: Final[Rules] = (*ASGI, *_without_trailers("hypercorn over HTTP/1.1", ANSWER))
GRANIAN: Final[Rules] = (
    *ASGI,
    *_without_trailers("granian", ANSWER),
    *_own("granian", b"date", b"server", changes=(ADDED, MOVED)),
    *(
        Rule(side, "order", (MOVED,), "granian: lines of one name stand together (5.3)")
        for side in Side
    ),
    *DECODED_ANSWER,
    OLDER,
)
GUNICORN: Final[Rules] = (
    *WSGI,
    *_own("gunicorn", b"date", b"server", changes=(ADDED, REPLACED, MOVED, SPELLED)),
)
WAITRESS: Final[Rules] = (
    *WSGI,
    *_own("waitress", b"date", b"server", b"via", changes=(ADDED, REPLACED, MOVED)),
    Rule(ANSWER, "order", (MOVED,), "waitress: sorts the names (5.3: no meaning)"),
    Rule(ANSWER, HEADER, (SPELLED,), "waitress: capitalises the names (5.1: no meaning)"),
    *DECODED_ANSWER,
    *DECODING,
)
CANARY: Final[Rules] = tuple(
    Rule(
        ANSWER,
        HEADER,
        (ADDED, REPLACED, MOVED),
        "canary_middleware: the cookie of a new visitor, and that caches must not share it",
        _names(name),
    )
    for name in (b"set-cookie", b"vary", b"cache-control", b"expires")
)
UVICORN_CANARY: Final[Rules] = (*UVICORN, *CANARY)
GUNICORN_CANARY: Final[Rules] = (*GUNICORN, *CANARY)
