"""What a request carries that the application makes on behalf of the visitor whom it serves.

``outbound_headers()`` for any client; :mod:`canary_middleware.frameworks.httpx`, ``requests`` and
``aiohttp`` put the same on every request to the hosts that you name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, MutableMapping
from typing import Final

from opentelemetry.baggage.propagation import W3CBaggagePropagator

from canary_middleware.core.active import active_visit
from canary_middleware.core.service import BAGGAGE, HEADER, member, merged
from canary_middleware.engine.services import message
from canary_middleware.engine.visit import Visit
from canary_middleware.errors import ConfigurationError, Problem

_PROPAGATOR: Final = W3CBaggagePropagator()
_HOST: Final = re.compile(r"[A-Za-z0-9_.:-]+")
"""A name or an address, perhaps with a port; no pattern and no URL."""


def outbound_headers() -> dict[str, str]:
    """``Canary-Context`` and ``baggage`` for a request to a service of your own.

    They carry the rollouts that were exposed so far in this request, and those that a trusted
    caller told of and that are not exposed here. Ask for ``current()`` first where the decision is
    to be made here. Never send them to others: the hooks send them to the hosts that you name.

    Returns:
        Nothing outside of a request. ``baggage`` holds what OpenTelemetry's present baggage does,
        except for versions that somebody else claims.
    """
    visit = _visit()
    return {} if visit is None else _headers(visit, _present())


def _visit() -> Visit | None:
    visit = active_visit.get()
    return visit if isinstance(visit, Visit) else None


def _present() -> str:
    """OpenTelemetry's baggage of this context, as a header."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(BAGGAGE, "")


def _headers(visit: Visit, baggage: str) -> dict[str, str]:
    # A copy in one operation: threads of the handler may expose more.
    carried, versions = message([*visit.exposed.values()], visit.told(), visit.engine.snapshot)
    context = visit.engine.services.context(carried) if carried else ""
    members = [member(rollout, version) for rollout, version in versions.items()]
    found = {HEADER: context, BAGGAGE: merged(baggage, members)}
    return {name: value for name, value in found.items() if value}


class Outbound:
    """What a hook does to the requests of a client.

    Args:
        hosts: names (or addresses) that get the headers, each with or without its port; nobody
            else does, also not by a redirect.

    Raises:
        ConfigurationError: no host is named, or everybody.
    """

    def __init__(self, hosts: Iterable[str]) -> None:
        self._hosts = frozenset(map(_normal, _checked(hosts)))

    def allows(self, host: str | None, port: int | None = None) -> bool:
        """Whether a host of that name is one of ours."""
        name = _normal(host or "")
        return name in self._hosts or (port is not None and f"{name}:{port}" in self._hosts)

    def dress(self, headers: MutableMapping[str, str], host: str | None, port: int | None) -> None:
        """Put on a request what it has to carry, and take off what it must not."""
        visit = _visit() if self.allows(host, port) else None
        before = headers.get(BAGGAGE)
        if visit is not None:
            ours = _headers(visit, _present() if before is None else before)
        else:
            # Also what a client takes along that follows a redirect of one of our hosts.
            ours = {BAGGAGE: merged(before or "", ())}
        for name in (HEADER, BAGGAGE):
            if ours.get(name):
                headers[name] = ours[name]
            elif name in headers:
                del headers[name]


def _normal(host: str) -> str:
    return host.lower().rstrip(".")


def _checked(hosts: Iterable[str]) -> Collection[str]:
    names: tuple[object, ...] = () if isinstance(hosts, str) else tuple(hosts)
    good = [name for name in names if isinstance(name, str) and _HOST.fullmatch(name)]
    if good and len(good) == len(names):
        return good
    hint = 'list those that may know, such as ["orders.internal", "stock.internal:8443"]'
    raise ConfigurationError([Problem("hosts", f"{hosts!r} does not name hosts", hint)])
