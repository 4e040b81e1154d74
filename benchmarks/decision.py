"""One decision by user id ÷ UnleashClient's evaluation of a gradual rollout, both from memory.

A decision is what the peer's call is: a user id and the rollout's state go in, the version comes
out. The second line, which has no target, is all that a request pays for it: ``identify``, the
decision, the exposure and, at the end of the visit, the outcome that is booked for it.
"""

from __future__ import annotations

from itertools import cycle
from tempfile import TemporaryDirectory
from typing import Any

import UnleashClient
from UnleashClient.cache import FileCache

from benchmarks.measure import interleaved, ratio_line
from benchmarks.request_asgi import KEY, rollout, scope
from canary_middleware import Canary, current
from canary_middleware.core.active import active_visit
from canary_middleware.core.model import Assignment, Visitor
from canary_middleware.core.outcomes import OutcomeClass
from canary_middleware.core.routing import Drawn, Place, route
from canary_middleware.engine.views import AsgiView, RequestView
from canary_middleware.engine.visit import Visit

TOGGLES = {
    "version": 1,
    "features": [
        {
            "name": "checkout",
            "enabled": True,
            "strategies": [
                {
                    "name": "flexibleRollout",
                    "parameters": {"rollout": "10", "stickiness": "userId", "groupId": "checkout"},
                    "constraints": [],
                }
            ],
        }
    ],
}
USERS = [f"user-{number}" for number in range(1000)]


def offline_unleash(directory: str) -> Any:
    """A client with a toggle of its own that asks no server."""
    make: Any = getattr(UnleashClient, "UnleashClient")  # noqa: B009  # exported lazily: unseen by types
    cache = FileCache("bench", directory=directory)
    cache.bootstrap_from_dict(TOGGLES)
    client = make(
        "http://127.0.0.1:1/api",
        "bench",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)
    return client


def main() -> list[str]:
    """The line of the issue."""
    ours, theirs = cycle(USERS), cycle(USERS)

    def identify(view: RequestView) -> str:
        return next(ours)

    engine = Canary(
        rollout(), secret_keys=[KEY], bucket_secret="b" * 32, identify=identify,
        autostart="10%", telemetry=False,
    ).engine  # fmt: skip
    match = engine.snapshot.match("/checkout", "GET")
    assert match is not None
    native = scope("/checkout", b"")

    def visit(*, decides: bool) -> None:
        made = Visit(engine, match, AsgiView(native))
        active_visit.set(made)
        if decides:
            current("checkout")
        made.finish(OutcomeClass.SUCCESS)

    lane = engine.snapshot.by_name["checkout"]

    def decide() -> Assignment:
        visitor = Visitor(next(ours))
        return route(lane, visitor, Place(Drawn.identified(visitor)))

    with TemporaryDirectory() as directory:
        client = offline_unleash(directory)
        try:
            times = interleaved(
                {
                    "decision": decide,
                    "visit": lambda: visit(decides=False),
                    "visit that decides": lambda: visit(decides=True),
                    "unleash": lambda: client.is_enabled("checkout", {"userId": next(theirs)}),
                }
            )
        finally:
            client.destroy()
    in_request = times["visit that decides"] - times["visit"]
    return [
        ratio_line("one decision by user id", times["decision"], times["unleash"], 0.10, "Unleash"),
        ratio_line("its share of a request", in_request, times["unleash"], None, "Unleash"),
    ]


if __name__ == "__main__":
    print("\n".join(main()))
