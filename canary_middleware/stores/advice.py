"""What people should know of the server behind a store, before it matters."""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

OLDEST: Final = (6, 2)
"""Version of Redis, or of what a Valkey says it is equal to."""


@runtime_checkable
class Advised(Protocol):
    """A store whose server may be set up in a way that endangers the control state."""

    def warnings(self) -> tuple[str, ...]:
        """One line each; none where the server may not be asked.

        Raises:
            StoreUnavailableError: it does not answer.
        """


def warnings_of(store: object) -> tuple[str, ...]:
    """What a store warns of; nothing if it is none of those who do."""
    return store.warnings() if isinstance(store, Advised) else ()


def of_redis(info: str) -> tuple[str, ...]:
    """Read the answer of ``INFO``."""
    lines = (line.partition(":") for line in info.splitlines())
    facts = {name: value.strip() for name, _, value in lines}
    return (*_version(facts.get("redis_version", "")), *_eviction(facts))


def _version(told: str) -> tuple[str, ...]:
    numbers = told.split(".")[:2]
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return ()
    if tuple(map(int, numbers)) >= OLDEST:
        return ()
    return (f"the server is Redis {told[:20]}, and 6.2 is the oldest that is supported",)


def _eviction(facts: dict[str, str]) -> tuple[str, ...]:
    policy = facts.get("maxmemory_policy", "")[:20]
    # Without a limit of memory nothing is ever evicted.
    if not policy.startswith("allkeys-") or facts.get("maxmemory") == "0":
        return ()
    danger = f"with maxmemory-policy {policy} the server may evict the control state"
    return (f"{danger}; use noeviction or volatile-*, see docs/redis.md",)
