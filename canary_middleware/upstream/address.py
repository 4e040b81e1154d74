"""Where an upstream is. Configuration says it once; no request, redirect or header ever does."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from canary_middleware.errors import ConfigurationError, Problem

_URL: Final = re.compile(r"(https?)://([^/?#]*)([^?#]*)", re.IGNORECASE)
_SOCKET_URL: Final = re.compile(r"http\+unix://([^/?#]*)([^?#]*)", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"(\[[^\]]*\]|[^\[\]:]*)(?::([0-9]*))?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PREFIX: Final = re.compile(r"(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*")
_INVISIBLE: Final = re.compile(r"[\x00-\x20\x7f]")
_DEVIANT: Final = re.compile("[ßς\u200c\u200d]")
"""Letters that the two standards of international names write as two different hosts."""
_PORTS: Final = {"http": 80, "https": 443}
_LONGEST_SOCKET: Final = 103
"""Bytes of a path that every system can bind: 104 of macOS, 108 of Linux, each with a NUL."""
_FORMS: Final = "write http://host:port, https://host, or unix:/path/of/the.sock"


@dataclass(frozen=True, slots=True)
class Origin:
    """The server behind an upstream.

    Attributes:
        scheme: ``http`` or ``https``.
        host: name or address to connect to and to verify a certificate against; ASCII, lower case,
            an IPv6 address without brackets. ``localhost`` behind a Unix socket.
        port: 0 behind a Unix socket.
        authority: what the Host header says if it is rewritten (RFC 9110 section 7.2).
        unix: path of the Unix socket, instead of host and port.
        prefix: path put before the raw path of each request, without a slash at its end.
    """

    scheme: str
    host: str
    port: int
    authority: bytes
    unix: str | None = None
    prefix: bytes = b""


def parse(url: str, place: str = "upstream") -> Origin:
    """The server that a URL of the configuration names.

    Args:
        url: ``http://host:port/prefix``, ``https://…``, ``unix:/run/app.sock``, or
            ``http+unix://%2Frun%2Fapp.sock/prefix``.
        place: what the setting is called, for the error.

    Raises:
        ConfigurationError: it is none of these. What was written is not repeated, as it may hold
            a password.
    """
    try:
        return _origin(url)
    except _RefusedError as refused:
        problem = Problem(place, refused.message, refused.hint)
    except UnicodeError:
        problem = Problem(place, "has bytes that are not UTF-8", _FORMS)
    raise ConfigurationError([problem])


class _RefusedError(Exception):
    def __init__(self, message: str, hint: str = _FORMS) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


def _origin(url: object) -> Origin:
    if not isinstance(url, str):
        raise _RefusedError(f"is {type(url).__name__}, not a URL")
    if _INVISIBLE.search(url):
        raise _RefusedError("has a space or a control character in it", "percent-encode it")
    if "?" in url or "#" in url:
        raise _RefusedError("has a query or a fragment", "end it after the path")
    if url.lower().startswith("unix:"):
        return _behind_socket(url[5:].removeprefix("//"))
    if found := _SOCKET_URL.fullmatch(url):
        return _behind_socket(unquote(found[1], errors="strict"), _prefix(found[2]))
    if found := _URL.fullmatch(url):
        return _behind_host(found[1].lower(), found[2], _prefix(found[3]))
    raise _RefusedError("is no URL of a kind that an upstream can have")


def _prefix(path: str) -> bytes:
    if not _PREFIX.fullmatch(path):
        raise _RefusedError("has a path with characters that no URL has", "percent-encode them")
    return path.rstrip("/").encode("ascii")


def _behind_socket(path: str, prefix: bytes = b"") -> Origin:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        raise _RefusedError("names no socket by its whole path", "write unix:/run/app.sock")
    if len(path.encode()) > _LONGEST_SOCKET:
        wrong = f"has a path of more than {_LONGEST_SOCKET} bytes, too long for a socket"
        raise _RefusedError(wrong, "put the socket elsewhere")
    return Origin("http", "localhost", 0, b"localhost", path, prefix)


def _behind_host(scheme: str, authority: str, prefix: bytes) -> Origin:
    if "@" in authority:
        raise _RefusedError("has a user or a password", "leave them out; they would not be sent")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise _RefusedError("has a host or a port that cannot be read")
    host, port = _host(found[1]), _port(found[2], _PORTS[scheme])
    shown = f"[{host}]" if ":" in host else host
    if port != _PORTS[scheme]:
        shown = f"{shown}:{port}"
    return Origin(scheme, host, port, shown.encode("ascii"), prefix=prefix)


def _port(digits: str | None, default: int) -> int:
    if digits is None:
        return default
    # Nine digits: int() refuses thousands of them in words of its own.
    port = int(digits) if 0 < len(digits) < 9 else 0
    if not 0 < port < 65_536:
        raise _RefusedError("has a port that is not from 1 to 65535")
    return port


def _host(written: str) -> str:
    if written.startswith("["):
        return str(_address(written[1:-1], ipaddress.IPv6Address))
    name = _ascii(written)
    labels = name.removesuffix(".").split(".")
    # Where a resolver reads 127.1 or 0x7f000001 as an address, nobody could tell which.
    if labels[-1].isdecimal() or re.fullmatch("0x[0-9a-f]*", labels[-1]):
        return str(_address(name, ipaddress.IPv4Address))
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise _RefusedError("has a host that is no name" if written else "has no host")
    return name


def _address(
    written: str, kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address]
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = kind(written)
    except ValueError:
        raise _RefusedError("has a host that is no address") from None
    if isinstance(found, ipaddress.IPv6Address) and found.scope_id is not None:
        raise _RefusedError("has an address with a zone", "name the host instead")
    return found


def _ascii(name: str) -> str:
    if name.isascii():
        return name.lower()
    if _DEVIANT.search(name):
        raise _RefusedError("has a host that can be written in two ways", "write its xn-- form")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _RefusedError("has a host that is no name", "write its xn-- form") from None
