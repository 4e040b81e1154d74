"""Reads an incoming trace context from a scope or an environ.

Not through the request's view: what is read there ends up in ``Vary``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.propagators.textmap import Getter


class Incoming(Getter[Mapping[str, Any]]):
    """Request headers of an ASGI scope (bytes in pairs) or a WSGI environ (``HTTP_*``)."""

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """All values of one header."""
        if "headers" in carrier:
            wanted = key.lower().encode("latin-1", "replace")
            found = [v.decode("latin-1") for k, v in carrier["headers"] if k.lower() == wanted]
            return found or None
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [value]

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        """Names of all headers, lower case."""
        if "headers" in carrier:
            return [k.decode("latin-1").lower() for k, _ in carrier["headers"]]
        return [k[5:].replace("_", "-").lower() for k in carrier if k.startswith("HTTP_")]
