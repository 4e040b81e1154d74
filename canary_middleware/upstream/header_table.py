"""The one table of what happens to headers on the way; docs/upstreams.md is printed from it.

Two rules to change it by: whatever somebody outside may say of a visitor is ours to say or nobody's
(``Fate.CHAIN``, ``TOLD``, ``VOUCHED``), and whatever has no row passes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Fate(StrEnum):
    """What happens to a header; the value says it in the documentation.

    Strings, because they are keys on the path of every request, and a plain enum's hash is slow.
    """

    PASSES = "passes"
    HELD = "passes, also if `Connection` names it"
    REMOVED = "removed"
    CONNECTION = "removed, with the headers that it names"
    UPGRADE = "removed, unless we relay the upgrade"
    TRAILERS = "only `trailers` of it passes"
    HOST = "the client's, or the upstream's if Host is rewritten; always first"
    CHAIN = "ours; what a trusted peer sent stays before it"
    TOLD = "ours, or what a trusted peer sent"
    VOUCHED = "removed, unless a trusted peer sent it"


class Rule(NamedTuple):
    """One row.

    Attributes:
        names: of headers; one that ends with a star stands for all that begin so.
        request: what happens on the way to the upstream.
        answer: what happens on the way back.
        why: the reason, with its source.
    """

    names: tuple[str, ...]
    request: Fate
    answer: Fate
    why: str


RULES: Final = (
    Rule(
        ("Connection",), Fate.CONNECTION, Fate.CONNECTION,
        "is about one connection (RFC 9110, 7.6.1); an upgrade or `TE` that we relay gets its own",
    ),
    Rule(
        ("Keep-Alive", "Proxy-Connection"), Fate.REMOVED, Fate.REMOVED,
        "are about one connection, also where `Connection` forgot them (RFC 9110, 7.6.1)",
    ),
    Rule(
        ("Transfer-Encoding",), Fate.REMOVED, Fate.REMOVED,
        "frames the body on one connection and is written anew (RFC 9112, 6.1)",
    ),
    Rule(
        ("Upgrade",), Fate.UPGRADE, Fate.REMOVED,
        "offers another protocol on one connection (RFC 9110, 7.8)",
    ),
    Rule(
        ("HTTP2-Settings",), Fate.REMOVED, Fate.REMOVED,
        "belongs to an upgrade that is obsolete and served for smuggling (RFC 9113, 3.1)",
    ),
    Rule(
        ("TE",), Fate.TRAILERS, Fate.PASSES,
        "codings are between two neighbours, trailers concern everybody (RFC 9110, 10.1.4)",
    ),
    Rule(
        ("Proxy-Authorization",), Fate.REMOVED, Fate.PASSES,
        "is a secret for a forward proxy, and no upstream is one (RFC 9110, 11.7.2)",
    ),
    Rule(
        ("Proxy-Authenticate", "Proxy-Authentication-Info"), Fate.PASSES, Fate.REMOVED,
        "an origin that is no proxy must not ask for its secret (RFC 9110, 11.7.1)",
    ),
    Rule(
        ("Host",), Fate.HOST, Fate.PASSES,
        "chooses no upstream; twice, or with bytes that no host has, is a 400 (RFC 9112, 3.2)",
    ),
    Rule(
        ("Forwarded",), Fate.CHAIN, Fate.PASSES,
        "`for`, `host` and `proto` of the client, quoted where needed (RFC 7239, 4)",
    ),
    Rule(
        ("X-Forwarded-For",), Fate.CHAIN, Fate.PASSES,
        "the client's address, in one line, as many read one only; none if it is unknown",
    ),
    Rule(
        ("X-Forwarded-Host", "X-Forwarded-Proto"), Fate.TOLD, Fate.PASSES,
        "the client's Host, and `http` or `https`, for WebSockets too; no lists: most compare them",
    ),
    Rule(
        ("X-Forwarded*", "X-Real-IP"), Fate.VOUCHED, Fate.PASSES,
        "the upstream believes its proxy; from anybody else they are forged",
    ),
    Rule(
        ("Content-*",), Fate.HELD, Fate.HELD,
        "say what the body is and where it ends; without one, a request could hide another",
    ),
    Rule(
        ("Authorization", "Canary-Context", "Cookie", "Idempotency-Key"), Fate.HELD, Fate.PASSES,
        "the upstream serves whom we routed, and repeats what we take for safe to repeat",
    ),
    Rule(
        ("Cache-Control", "Set-Cookie", "Vary"), Fate.HELD, Fate.HELD,
        "are for every recipient and must not be named (RFC 9110, 7.6.1)",
    ),
    Rule(
        ("Expect",), Fate.PASSES, Fate.PASSES,
        "the upstream decides whether it wants the body (RFC 9110, 10.1.1)",
    ),
    Rule(
        ("Trailer",), Fate.PASSES, Fate.PASSES,
        "announces, and binds nobody (RFC 9110, 6.6.2)",
    ),
    Rule(
        ("Via",), Fate.PASSES, Fate.PASSES,
        "and none of ours is added, although a gateway must (RFC 9110, 7.6.3): a server such as "
        "nginx compresses nothing for a request that has one, so its answers would be others",
    ),
    Rule(
        ("Date", "Server"), Fate.PASSES, Fate.PASSES,
        "are the origin's (RFC 9110, 6.6.1 and 10.2.4); a server in front may add its own",
    ),
    Rule(
        ("everything else",), Fate.PASSES, Fate.PASSES,
        "with its order, case, bytes and repetitions, unless `Connection` names it",
    ),
)  # fmt: skip


def fates(rules: tuple[Rule, ...], *, answer: bool = False) -> Mapping[bytes, Fate]:
    """The fate of each name, in lower case; those with a star are left to :func:`prefixes`."""
    return {
        name.lower().encode(): rule.answer if answer else rule.request
        for rule in rules
        for name in rule.names
        if name[-1] != "*" and " " not in name
    }


def prefixes(rules: tuple[Rule, ...], *, answer: bool = False) -> Mapping[bytes, Fate]:
    """The fates of what a star stands for, by its beginning in lower case."""
    return {
        name[:-1].lower().encode(): rule.answer if answer else rule.request
        for rule in rules
        for name in rule.names
        if name[-1] == "*"
    }


PLAIN: Final = (
    "accept accept-charset accept-encoding accept-language access-control-request-headers "
    "access-control-request-method age authorization baggage cache-control content-encoding "
    "content-language content-length content-type cookie date dnt expect from if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-event-id origin pragma "
    "priority range referer sec-ch-ua sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest "
    "sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc sec-websocket-extensions "
    "sec-websocket-key sec-websocket-protocol sec-websocket-version traceparent tracestate "
    "upgrade-insecure-requests user-agent x-csrf-token x-request-id x-requested-with"
)
"""Frequent names that pass, so that most of a request is settled by one look-up each."""
