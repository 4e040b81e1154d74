"""What the URL of a Redis says, as values; nothing of it is ever repeated, it may be a secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from canary_middleware.errors import ConfigurationError, MissingExtraError, Problem

try:
    from redis.connection import parse_url
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

TLS_OPTIONS: Final = (
    "ssl_keyfile", "ssl_certfile", "ssl_password", "ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_data",
    "ssl_ca_path", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers",
)  # fmt: skip
_OPTIONS: Final = (
    *TLS_OPTIONS, "db", "username", "password", "client_name", "max_connections",
    "health_check_interval", "socket_timeout", "socket_connect_timeout", "socket_keepalive",
    "sentinel_username", "sentinel_password",
)  # fmt: skip
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(?::(\d{1,5}))?", re.ASCII)
_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):[\w.-]*", re.ASCII)
_SOCKET: Final = "write unix:///run/redis/redis.sock"
_ESCAPED: Final = "is no address: escape special characters of the password, %23 for #"


class Kind(Enum):
    """What stands behind an address; its value is the end of the scheme."""

    SERVER = ""
    SENTINEL = "+sentinel"
    CLUSTER = "+cluster"


_FORMS: Final[Mapping[Kind, str]] = {
    Kind.SERVER: "write redis://host:6379/0",
    Kind.SENTINEL: "write redis+sentinel://host1:26379,host2:26379/name-of-the-master/0",
    Kind.CLUSTER: "write redis+cluster://host1:6379,host2:6379",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What a URL says.

    Attributes:
        kind: what is there.
        tls: whether it is encrypted.
        hosts: with their ports; none for a unix socket.
        service: name of the master, for Sentinels.
        options: arguments of a connection, as redis-py names them.
        sentinel_options: those of connections to the Sentinels.
    """

    kind: Kind
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    service: str
    options: Mapping[str, Any]
    sentinel_options: Mapping[str, Any]


def refusal(message: str, hint: str) -> ConfigurationError:
    """The one problem of a store's address."""
    return ConfigurationError([Problem("store", message, hint)])


def read(url: str) -> Parts:
    """Take a URL apart.

    Raises:
        ConfigurationError: it cannot be read.
    """
    scheme, _, rest = url.partition("://")
    kind = Kind(scheme.removeprefix("rediss").removeprefix("redis") if scheme != "unix" else "")
    place, _, query = rest.partition("?")
    authority, _, path = place.partition("/")
    who, _, hosts = authority.rpartition("@")
    if scheme == "unix" and (hosts or not path):
        raise refusal("names a socket without the whole path from / on", _SOCKET)
    if scheme == "unix":
        return Parts(kind, False, (), "", _options(url, kind), {})
    # A character of a password that was not escaped ends the authority too early.
    if "#" in url or "@" in path + query:
        raise refusal(_ESCAPED, _FORMS[kind])
    service, path = _service(path) if kind is Kind.SENTINEL else ("", path)
    if not (path.strip("/") or "0").isdigit():
        raise refusal("names a database that is no number", _FORMS[kind])
    if kind is Kind.CLUSTER and int(path.strip("/") or "0"):
        raise refusal("names a database, and a cluster has none but 0", _FORMS[kind])
    where = _hosts(hosts, kind)
    plain = scheme.removesuffix(kind.value)
    options = _options(f"{plain}://{who}@host/{path}?{query}", kind)
    theirs = {
        name.removeprefix("sentinel_"): options.pop(name)
        for name in ("sentinel_username", "sentinel_password")
        if name in options
    }
    return Parts(kind, scheme.startswith("rediss"), where, service, options, theirs)


def misspelt(url: str) -> ConfigurationError:
    """What to say of options that redis-py does not take: the names that may have been meant."""
    given = {name for name, _ in parse_qsl(urlsplit(url).query)}
    near = [difflib.get_close_matches(name, _OPTIONS, 1) for name in given - {*_OPTIONS}]
    meant = sorted({match for matches in near for match in matches})
    hint = f"did you mean {' and '.join(meant)}?" if meant else "docs/redis.md has the options"
    return refusal("has an option, or a value of one, that redis-py does not take", hint)


def _service(path: str) -> tuple[str, str]:
    service, _, database = path.partition("/")
    if not service:
        raise refusal("does not name the master that the Sentinels watch", _FORMS[Kind.SENTINEL])
    return unquote(service), database


def _hosts(text: str, kind: Kind) -> tuple[tuple[str, int], ...]:
    usual = 26379 if kind is Kind.SENTINEL else 6379
    named = (text or "localhost").split(",")
    found = [_HOST.fullmatch(one) for one in named]
    places = [(match[1].strip("[]"), int(match[2] or usual)) for match in found if match]
    strange = [one for one, match in zip(named, found, strict=True) if not match]
    if not all(map(_PORT.fullmatch, strange)):
        raise refusal(_ESCAPED, _FORMS[kind])
    if strange or any(not 0 < port < 65536 for _, port in places):
        raise refusal("names a port that is no number from 1 to 65535", _FORMS[kind])
    if kind is Kind.SERVER and len(places) > 1:
        several = f"{_FORMS[Kind.CLUSTER]}, or {_FORMS[Kind.SENTINEL].removeprefix('write ')}"
        raise refusal("names several servers", several)
    return tuple(places)


def _options(url: str, kind: Kind) -> dict[str, Any]:
    try:
        options: dict[str, Any] = parse_url(url)
    except ValueError as wrong:
        # It names one of the options after the question mark, and no value.
        raise refusal(str(wrong), _FORMS[kind]) from None
    for name in ("host", "port", "connection_class", *(["db"] if kind is Kind.CLUSTER else [])):
        options.pop(name, None)
    return options
