"""What this process can say of itself: configuration, counts, and the server that it runs in."""

from __future__ import annotations

import platform
import sys
from typing import Any, Final

from canary_middleware.core.facts import Cookies, Facts, Traced, fingerprint
from canary_middleware.engine.engine import Engine
from canary_middleware.telemetry import Telemetry

_SERVERS: Final = (
    "uwsgi", "gunicorn.arbiter", "granian", "hypercorn", "daphne", "uvicorn", "waitress",
)  # fmt: skip
"""Modules that only a server loads; the first that is there names it."""


def gather(engine: Engine) -> Facts:
    """What does not change, and what was counted until now."""
    settings, visitors, observer = engine.settings, engine.visitors, engine.observer
    server = next((name for name in _SERVERS if name in sys.modules), "")
    return Facts(
        library=_version(),
        python=platform.python_version(),
        signs=tuple(map(fingerprint, settings.keys)),
        buckets=fingerprint(settings.bucket_secret),
        cookies=Cookies(
            secure=_WORDS[settings.cookie.secure],
            issued=visitors.issued,
            by_tls=visitors.issued_by_tls,
            returned=visitors.returned,
        ),
        traced=observer.seen() if isinstance(observer, Telemetry) else Traced(),
        server=server.partition(".")[0],
        threads=threads_of(sys.modules.get("uwsgi")),
        max_staleness=engine.max_staleness,
    )


_WORDS: Final = {True: "on", False: "off", "auto": "auto"}


def _version() -> str:
    # The package is there as long as one of its modules is; to import it from here would turn the
    # layers around, as it leads to all of them.
    return str(vars(sys.modules[__name__.partition(".")[0]])["__version__"])


def threads_of(uwsgi: Any) -> bool | None:
    """Whether uWSGI lets threads of Python run between requests; ``None`` in other servers.

    Before 2.0.27 it does with ``enable-threads`` or several threads per worker only; its module
    says what came of both as ``has_threads`` (plugins/python/python_plugin.c, all versions of 2.0).
    """
    found = getattr(uwsgi, "has_threads", None)
    return bool(found) if isinstance(found, int) else None
