"""Where a request comes from, told by proxies that are trusted and by nobody else. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from starlette.types import Scope

from canary_middleware.errors import ConfigurationError, Problem

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(trust: Sequence[str]) -> tuple[Network, ...]:
    """The networks whose proxies are believed.

    Raises:
        ConfigurationError: with each that is none.
    """
    found: list[Network] = []
    problems = []
    for text in [trust] if isinstance(trust, str) else trust:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            hint = "an address or a network, such as 10.0.0.0/8"
            problems.append(Problem("trust", f"{text!r} is no network", hint))
    if problems:
        raise ConfigurationError(problems)
    return tuple(found)


class Clients:
    """Finds the client of a connection.

    Args:
        trusted: networks of proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` count.
        behind_proxy: whether a proxy ends TLS for all who come, whatever it says of that.
    """

    def __init__(self, trusted: Sequence[Network], *, behind_proxy: bool = False) -> None:
        self._trusted = trusted
        self._behind_proxy = behind_proxy

    def address(self, scope: Scope) -> str:
        """Of the client; ``""`` where it has none, as on a Unix socket.

        Proxies append, so it is read from the end: the first that is no trusted proxy's.
        """
        address = _peer(scope)
        for said in reversed(_values(scope, b"x-forwarded-for")):
            if not self._is_trusted(address):
                break
            told = _parsed(said)
            if told is None:
                break
            address = told
        return str(address) if address else ""

    def is_secure(self, scope: Scope) -> bool:
        """Whether the client speaks TLS, to us or to a proxy."""
        if self._behind_proxy or scope["scheme"] == "https":
            return True
        told = _values(scope, b"x-forwarded-proto")
        return self._is_trusted(_peer(scope)) and told[-1:] == ["https"]

    def _is_trusted(self, address: _Address | None) -> bool:
        return address is not None and any(address in network for network in self._trusted)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _peer(scope: Scope) -> _Address | None:
    client = scope.get("client")
    return _parsed(client[0]) if client else None


def _parsed(text: str) -> _Address | None:
    """An address, as proxies write it: perhaps in brackets, perhaps with a port."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        if found.scope_id is not None:
            return ipaddress.IPv6Address(int(found))
        return found.ipv4_mapped or found
    return found


def _values(scope: Scope, name: bytes) -> list[str]:
    lines: Iterable[bytes] = (value for key, value in scope["headers"] if key == name)
    joined = b",".join(lines).decode("latin-1")
    return [part.strip().lower() for part in joined.split(",") if part.strip()]
