"""One view of a request for ASGI and WSGI: ``identify`` gets it, the visitor is read from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, Protocol


class RequestView(Protocol):
    """A request as ``identify`` sees it.

    Attributes:
        native: the ASGI scope or the WSGI environ, for session helpers.
        inputs: names of the headers that were read, for ``Vary``.
    """

    native: Any
    inputs: tuple[str, ...]

    @property
    def method(self) -> str:
        """Upper case; ``GET`` for WebSockets."""

    @property
    def path(self) -> str:
        """App-relative and decoded once."""

    @property
    def scheme(self) -> str:
        """``http``, ``https``, ``ws`` or ``wss``, as the server saw it."""

    def header(self, name: str) -> str | None:
        """A header's value (several are joined with a comma); the answer will vary on it.

        Raises:
            ValueError: no header can have this name; as part of ``Vary`` it would break the answer.
        """

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name, unverified."""

    def keyed(self) -> bool:
        """Whether the client gives it an Idempotency-Key."""

    def by_tls(self) -> bool:
        """Whether the client came by TLS, as the server or a proxy says; for people only."""

    def has_body(self) -> bool:
        """Whether the client has announced a body."""

    def cookie_header(self) -> bytes:
        """All Cookie headers as one, raw; ``b""`` if none came."""

    def fetch_metadata(self) -> tuple[str | None, str | None, str | None]:
        """``Sec-Fetch-Site``, ``-Mode`` and ``-Dest``."""

    @property
    def peer(self) -> str | None:
        """The address that the server says the request came from; ``None`` if it says nothing."""


def app_path(scope: Any) -> str:
    """The path below ``root_path`` (ASGI specification: ``path`` includes it)."""
    path: str = scope["path"]
    root = scope.get("root_path")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def named_cookie(header: bytes, name: str) -> str | None:
    """The first cookie of that name in a Cookie header, as it stands there."""
    wanted = name.encode("latin-1", "replace")
    for part in header.split(b";"):
        key, _, value = part.partition(b"=")
        if key.strip() == wanted:
            return value.strip().decode("latin-1")
    return None


_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_name(name: str) -> str:
    """The name, if it is one (RFC 9110 section 5.6.2)."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a header name")
    return name


SECURE: Final = ("https", "wss")
FETCH_METADATA: Final = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest")


class AsgiView:
    """A scope of type ``http`` or ``websocket``."""

    __slots__ = ("inputs", "native")

    def __init__(self, scope: Any) -> None:
        self.native = scope
        self.inputs: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Upper case; ``GET`` for WebSockets."""
        method: str = self.native.get("method", "GET")
        return method

    @property
    def path(self) -> str:
        """App-relative and decoded once."""
        return app_path(self.native)

    @property
    def scheme(self) -> str:
        """As the server saw it."""
        scheme: str = self.native.get("scheme", "http")
        return scheme

    def _values(self, name: bytes) -> Iterator[bytes]:
        return (value for key, value in self.native["headers"] if key.lower() == name)

    def header(self, name: str) -> str | None:
        """A header's value; several are joined with a comma."""
        self.inputs += (header_name(name),)
        return self._header(name)

    def _header(self, name: str) -> str | None:
        values = list(self._values(name.lower().encode("latin-1", "replace")))
        return b", ".join(values).decode("latin-1") if values else None

    def keyed(self) -> bool:
        """Whether the client gives it an Idempotency-Key; no answer varies by that."""
        return any(self._values(b"idempotency-key"))

    def by_tls(self) -> bool:
        """Whether the client came by TLS, as the server or a proxy says; no answer varies by it."""
        return self.scheme in SECURE or self._header("x-forwarded-proto") == "https"

    def has_body(self) -> bool:
        """Whether the client has announced a body."""
        lengths = self._values(b"content-length")
        return any(one != b"0" for one in lengths) or any(self._values(b"transfer-encoding"))

    def cookie_header(self) -> bytes:
        """All Cookie headers as one; HTTP/2 may split them (RFC 9113 section 8.2.3)."""
        found = b""
        for key, value in self.native["headers"]:
            if key == b"cookie":
                found = found + b"; " + value if found else value
        return found

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name, unverified."""
        return named_cookie(self.cookie_header(), name)

    def fetch_metadata(self) -> tuple[str | None, str | None, str | None]:
        """Site, mode and destination, lower case."""
        self.inputs += FETCH_METADATA
        site = mode = dest = None
        # One pass: a first request is looked at once for all three.
        for key, value in self.native["headers"]:
            if key.startswith(b"sec-fetch-"):
                if key == b"sec-fetch-site":
                    site = value.decode("latin-1")
                elif key == b"sec-fetch-mode":
                    mode = value.decode("latin-1")
                elif key == b"sec-fetch-dest":
                    dest = value.decode("latin-1")
        return site, mode, dest

    @property
    def peer(self) -> str | None:
        """The address that the server says the request came from."""
        client = self.native.get("client")
        return client[0] if client else None


class WsgiView:
    """A WSGI environ (PEP 3333: values are bytes decoded as latin-1)."""

    __slots__ = ("inputs", "native")

    def __init__(self, environ: Any) -> None:
        self.native = environ
        self.inputs: tuple[str, ...] = ()

    @property
    def method(self) -> str:
        """Upper case."""
        method: str = self.native["REQUEST_METHOD"]
        return method

    @property
    def path(self) -> str:
        """App-relative and decoded once."""
        return wsgi_path(self.native)

    @property
    def scheme(self) -> str:
        """As the server saw it."""
        scheme: str = self.native["wsgi.url_scheme"]
        return scheme

    def header(self, name: str) -> str | None:
        """A header's value; servers join several with a comma."""
        self.inputs += (header_name(name),)
        return self._header(name)

    def _header(self, name: str) -> str | None:
        key = name.upper().replace("-", "_")
        prefix = "" if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_"
        value: str | None = self.native.get(prefix + key)
        return value

    def keyed(self) -> bool:
        """Whether the client gives it an Idempotency-Key; no answer varies by that."""
        return bool(self.native.get("HTTP_IDEMPOTENCY_KEY"))

    def by_tls(self) -> bool:
        """Whether the client came by TLS, as the server or a proxy says; no answer varies by it."""
        return self.scheme in SECURE or self._header("x-forwarded-proto") == "https"

    def has_body(self) -> bool:
        """Whether the client has announced a body."""
        length = self.native.get("CONTENT_LENGTH") or "0"
        return length != "0" or bool(self.native.get("HTTP_TRANSFER_ENCODING"))

    def cookie_header(self) -> bytes:
        """The Cookie header, raw."""
        value: str = self.native.get("HTTP_COOKIE", "")
        return value.encode("latin-1", "replace")

    def cookie(self, name: str) -> str | None:
        """The first cookie of that name, unverified."""
        return named_cookie(self.cookie_header(), name)

    def fetch_metadata(self) -> tuple[str | None, str | None, str | None]:
        """Site, mode and destination, lower case."""
        self.inputs += FETCH_METADATA
        site, mode, dest = map(self._header, FETCH_METADATA)
        return site, mode, dest

    @property
    def peer(self) -> str | None:
        """The address that the server says the request came from."""
        peer: str | None = self.native.get("REMOTE_ADDR")
        return peer


def wsgi_path(environ: Any) -> str:
    """``PATH_INFO`` as text: PEP 3333 hands over UTF-8 bytes decoded as latin-1."""
    path: str = environ.get("PATH_INFO") or "/"
    return path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace")
