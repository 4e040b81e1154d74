"""Three services of one namespace in a row: what they are made of, and what they answer.

``a`` (FastAPI under uvicorn) knows its users and asks ``b`` with httpx2 and ``c`` with aiohttp;
``b`` (Flask under gunicorn) asks ``c`` with requests; ``c`` is a plain ASGI application. Each says
which version it served and why, what it was sent, and what the next one said.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from canary_middleware import Callers, Canary, Rollout, current
from canary_middleware.core.service import BAGGAGE, HEADER
from canary_middleware.engine.views import RequestView
from tests.support.servers import LOCALHOST
from tests.system.observing import export

KEY = "a-key-of-the-services-that-is-long-enough"
BUCKET_SECRET = "the-bucket-secret-of-these-tests-is-long-enough"
STABLE, CANARY = "1.0", "2.0"
SHOP = Rollout("shop", stable=STABLE, canary=CANARY, paths=("/shop",))
HOSTS = [LOCALHOST]
VARIABLE = "CANARY_TEST_CHAIN"


@dataclass(frozen=True)
class Link:
    """One service; travels as JSON in an environment variable.

    Attributes:
        store: URL.
        namespace: of all three.
        ports: of the services, by name.
        snapshot_path: directory for its kill file.
        otlp: URL of a receiver for spans.
    """

    store: str
    namespace: str
    ports: Mapping[str, int]
    snapshot_path: str
    otlp: str

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def url(self, service: str, path: str = "/shop/") -> str:
        return f"http://{LOCALHOST}:{self.ports[service]}{path}"


def begin() -> Link:
    """This process's own, with everything logged and its spans exported."""
    logging.basicConfig(level=logging.DEBUG)
    link = Link(**json.loads(os.environ[VARIABLE]))
    export(link.otlp)
    return link


def who(view: RequestView) -> str | None:
    return view.header("X-User")


def canary(link: Link, *, first: bool = False) -> Canary:
    """The facade of one service; only the first one knows its users, the others believe it."""
    return Canary(
        SHOP,
        namespace=link.namespace,
        store=link.store,
        secret_keys=[KEY],
        bucket_secret=BUCKET_SECRET if first else None,
        identify=who if first else None,
        callers=Callers(signed=not first),
        secure=False,
        snapshot_path=link.snapshot_path,
    )


def told(header: Callable[[str], str | None], following: Any = None) -> dict[str, Any]:
    """What a service answers."""
    chosen = current("shop")
    return {
        "version": chosen.version,
        "reason": chosen.reason.value,
        "context": header(HEADER),
        "baggage": header(BAGGAGE),
        "next": following,
    }
