"""What an upstream is asked to learn whether it is ready."""

from __future__ import annotations

from canary_middleware.errors import ConfigurationError, Problem
from canary_middleware.upstream.address import Origin


def probe_target(path: str | None, origin: Origin) -> bytes | None:
    """The target of a probe as it goes on the wire; ``None`` if a connection is enough.

    Raises:
        ConfigurationError: it is no path.
    """
    if path is None:
        return None
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        hint = "write it as in a URL, such as /healthz"
        raise ConfigurationError([Problem("probe", f"{path!r} is no path", hint)])
    return origin.prefix + path.encode("ascii")
