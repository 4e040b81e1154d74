"""What becomes of the headers of a request and of its answer; ``header_table`` has the rules.

Pure, and on the path of every request: one pass, and what we say of a client is kept ready.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from canary_middleware.core.service import Network, Peers
from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import Origin
from canary_middleware.upstream.header_table import PLAIN, RULES, Fate, fates, prefixes

Header = tuple[bytes, bytes]

_REQUEST: Final = fates(RULES)
_REQUEST_PREFIXES: Final = prefixes(RULES)
_STARRED: Final = tuple(_REQUEST_PREFIXES)
_ANSWER: Final = fates(RULES, answer=True)
_ANSWER_PREFIXES: Final = prefixes(RULES, answer=True)
_DROPPED: Final = frozenset(
    name for name, fate in _ANSWER.items() if fate not in {Fate.PASSES, Fate.HELD}
)
_PASSES: Final = Fate.PASSES
_HELD: Final = Fate.HELD
_FORWARDED: Final = (Fate.CHAIN, Fate.TOLD, Fate.VOUCHED)
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""RFC 9110 section 5.6.2."""
_FOLD: Final = bytes(
    (ord(chr(byte).lower()) if chr(byte).isalnum() else ord("-")) if byte in _TOKEN else 0
    for byte in range(256)
)
"""Lower case; every mark becomes a hyphen, and what is no token becomes NUL."""
_CONNECTION: Final = frozenset({b"connection", b"Connection"})
_IDLE: Final = frozenset({b"keep-alive", b"Keep-Alive", b"close"})
"""What Connection says nearly always; it names nothing that is not removed anyway."""
_HOST: Final = re.compile(rb"[!$%&'()*+,\-.0-9:;=A-Z\[\]_a-z~\x80-\xff]{0,512}")
"""Of RFC 3986 section 3.2, without a user; and what older clients send for international names."""
_PROTOS: Final = {"http": b"http", "https": b"https", "ws": b"http", "wss": b"https"}


class BadHeaderError(Exception):
    """A request whose headers nobody may pass on.

    Attributes:
        status: what to answer.
        why: one sentence for the log.
    """

    def __init__(self, why: str) -> None:
        self.status = 400
        self.why = why
        super().__init__(why)


class Client(NamedTuple):
    """Who is at the other end of the connection, as the server says.

    A server that believes a proxy, such as uvicorn with ``--forwarded-allow-ips``, names whom that
    proxy named.

    Attributes:
        host: address; empty for a Unix socket, or where the server does not know.
        scheme: ``http``, ``https``, ``ws`` or ``wss``.
    """

    host: str
    scheme: str


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose ``Forwarded`` and ``X-Forwarded-*`` count.

    Whom they name must remove what comes from outside, in both spellings: of a proxy that writes
    the one and lets the other through, a visitor's own words arrive as those of the proxy.

    Attributes:
        networks: of the peers, such as ``"10.0.0.0/8"``; never all addresses.
        unix: whether to believe peers without an address: those of a Unix socket.

    Raises:
        ConfigurationError: a network is none, or everybody is trusted.
    """

    networks: Sequence[str | Network] = ()
    unix: bool = False
    _includes: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        networks = _checked(self.networks)
        object.__setattr__(self, "networks", networks)
        includes = Peers(map(str, networks)).include
        object.__setattr__(self, "_includes", lru_cache(maxsize=1024)(includes))

    def includes(self, client: Client) -> bool:
        """Whether this peer may say for whom it speaks."""
        if not client.host:
            return self.unix
        return bool(self.networks) and self._includes(client.host)


def outgoing(
    headers: Sequence[Header],
    client: Client,
    origin: Origin,
    *,
    preserve_host: bool,
    trust: Trust,
    upgrade: bool = False,
) -> list[Header]:
    """The headers of a request as the upstream gets them; those of the body's framing follow.

    Args:
        headers: as the client sent them, in any case.
        client: who sent them.
        origin: where they go.
        preserve_host: whether the upstream is told the Host that the client asked for.
        trust: whose word on forwarded requests counts.
        upgrade: whether ``Upgrade`` is relayed.

    Raises:
        BadHeaderError: there are two Hosts, one that is none, or a name that is none.
    """
    found: dict[Fate, list[Header]] = {}
    kept = [
        pair
        for pair in headers
        if pair[0] in _PLAIN
        or (not (pair[1] in _IDLE and pair[0] in _CONNECTION) and _passes(pair, found))
    ]
    hosts = found.get(Fate.HOST, ())
    if len(hosts) > 1:
        raise BadHeaderError("more than one Host")
    ours = _ours(client.host, client.scheme, hosts[0][1] if hosts else b"")
    host = hosts[0] if hosts and preserve_host else (b"Host", origin.authority)
    if len(found) == 1 and hosts:
        return [host, *kept, *ours]
    if named := _named(value for _, value in found.get(Fate.CONNECTION, ())):
        kept = _without(kept, named, _REQUEST, _REQUEST_PREFIXES)
    theirs = [pair for fate in _FORWARDED for pair in found.get(fate, ())]
    if theirs and trust.includes(client):
        ours = _extended(ours, theirs)
    return [host, *kept, *_connection(found, upgrade=upgrade), *ours]


def incoming(headers: Sequence[Header], *, keep_case: bool = True) -> list[Header]:
    """The headers of an answer as the client gets them.

    Args:
        headers: as the upstream sent them.
        keep_case: else the names are in lower case, as ASGI demands.
    """
    if keep_case:
        kept = [pair for pair in headers if pair[0].lower() not in _DROPPED]
    else:
        kept = [(low, value) for name, value in headers if (low := name.lower()) not in _DROPPED]
    if len(kept) == len(headers):
        return kept
    named = _named(
        value for name, value in headers if value not in _IDLE and name.lower() == b"connection"
    )
    return _without(kept, named, _ANSWER, _ANSWER_PREFIXES) if named else kept


def _passes(pair: Header, found: dict[Fate, list[Header]]) -> bool:
    """Whether a header goes on as it is; if not, it is put where it is looked for."""
    fate = _fate(pair[0])
    if fate is _PASSES or fate is _HELD:
        return True
    found.setdefault(fate, []).append(pair)
    return False


def _fate(written: bytes) -> Fate:
    """What the table says of a header of a request.

    WSGI and CGI write every mark in a name as an underscore, so that a twin such as
    ``X_Forwarded-For`` would arrive as the header that we vouch for.
    """
    name = written.translate(_FOLD)
    fate = _REQUEST.get(name)
    if fate is None:
        if b"\0" in name or not name:
            raise BadHeaderError("a header name that is no token")
        if not name.startswith(_STARRED):
            return _PASSES
        fate = _looked_up(name, _REQUEST, _REQUEST_PREFIXES)
    return fate if fate is _PASSES or name == written.lower() else Fate.REMOVED


def _looked_up(name: bytes, exact: Mapping[bytes, Fate], starred: Mapping[bytes, Fate]) -> Fate:
    """What a table says of a name in lower case."""
    if fate := exact.get(name):
        return fate
    return next((fate for start, fate in starred.items() if name.startswith(start)), _PASSES)


def _named(values: Iterable[bytes]) -> set[bytes]:
    """The headers that Connection names, in lower case."""
    return {option.strip(b" \t").lower() for value in values for option in value.split(b",")}


def _without(
    headers: list[Header],
    named: set[bytes],
    exact: Mapping[bytes, Fate],
    starred: Mapping[bytes, Fate],
) -> list[Header]:
    """What Connection leaves; what it may not name stays."""
    gone = {name for name in named if _looked_up(name, exact, starred) is not Fate.HELD}
    return [pair for pair in headers if pair[0].lower() not in gone]


def _connection(found: Mapping[Fate, list[Header]], *, upgrade: bool) -> list[Header]:
    """What is said of the next connection: a TE must be named, and an Upgrade (RFC 9110, 7.8)."""
    said = found.get(Fate.UPGRADE, [])[:] if upgrade else []
    options = [b"Upgrade"] if said else []
    codings = b",".join(value for _, value in found.get(Fate.TRAILERS, ()))
    if b"trailers" in {coding.strip(b" \t").lower() for coding in codings.split(b",")}:
        said.append((b"TE", b"trailers"))
        options.append(b"TE")
    return [(b"Connection", b", ".join(options)), *said] if said else []


@lru_cache(maxsize=1024)
def _ours(address: str, scheme: str, host: bytes) -> tuple[Header, ...]:
    """What we say of a client: RFC 7239 section 4, and its older ways."""
    if not _HOST.fullmatch(host):
        raise BadHeaderError("a Host that is none")
    proto = _PROTOS.get(scheme, b"http")
    node = _node(address)
    quoted = b"for=" + (b'"[%b]"' % node if b":" in node else node or b"unknown")
    if host:
        quoted += b";host=" + (b'"%b"' % host if host.translate(None, _TOKEN) else host)
    said = [(b"Forwarded", quoted + b";proto=" + proto)]
    if node:
        said.append((b"X-Forwarded-For", node))
    if host:
        said.append((b"X-Forwarded-Host", host))
    return (*said, (b"X-Forwarded-Proto", proto))


def _node(address: str) -> bytes:
    """An address without the zone of our own host; empty for whatever is none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return b""
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped  # what a dual-stack socket makes of an IPv4 peer
    return str(found).encode("ascii")


def _extended(ours: Sequence[Header], theirs: list[Header]) -> tuple[Header, ...]:
    """What a trusted peer said, and ours after it.

    In the words that it uses: next to a chain in ``X-Forwarded-For``, a ``Forwarded`` of ours alone
    would name the proxy as the client.
    """
    names = {name.lower() for name, _ in theirs}
    new = b"forwarded" in names
    old = len(names) > new
    added = []
    for name, value in ours:
        low = name.lower()
        if low not in names:
            if new if low == b"forwarded" else old:
                added.append((name, value))
        elif _REQUEST[low] is Fate.CHAIN:
            said = [link for other, link in theirs if other.lower() == low and link.strip(b" \t")]
            theirs = [pair for pair in theirs if pair[0].lower() != low]
            added.append((name, b", ".join([*said, value])))
    return (*theirs, *added)


def _checked(networks: object) -> tuple[Network, ...]:
    if isinstance(networks, str) or not isinstance(networks, Iterable):
        wrong = f"is {type(networks).__name__}, not a list of networks"
        raise ConfigurationError([Problem("trust.networks", wrong, 'write ["10.0.0.0/8"]')])
    found: list[Network] = []
    problems = []
    for network in networks:
        try:
            found.append(ipaddress.ip_network(network))
        except ValueError as error:
            problems.append(Problem("trust.networks", str(error), 'such as "10.0.0.0/8"'))
    if any(network.prefixlen == 0 for network in _joined(found)):
        wrong = "trusts everybody: whoever sends a header would be whom it says"
        problems.append(Problem("trust.networks", wrong, "name those of your own proxies"))
    if problems:
        raise ConfigurationError(problems)
    return tuple(found)


def _joined(networks: Sequence[Network]) -> list[Network]:
    """Together, as two halves are everybody too."""
    old = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    new = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(old), *ipaddress.collapse_addresses(new)]


_PLAIN: Final = frozenset(
    spelling.encode()
    for name in PLAIN.split()
    for spelling in (name, name.title())
    if _fate(name.encode()) in {Fate.PASSES, Fate.HELD}
)
