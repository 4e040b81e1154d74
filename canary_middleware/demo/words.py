"""What the shops and those who watch them must spell alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Part:
    """One part of both shops, with a new version on its way out.

    Attributes:
        name: of the rollout.
        stable: label of the version that everybody has.
        canary: label of the new one. No two parts share a label, so that an answer which names a
            version says which rollout gave it.
    """

    name: str
    stable: str
    canary: str

    @property
    def path(self) -> str:
        """Where it is."""
        return f"/{self.name}"


CHECKOUT: Final = Part("checkout", "1.4.2", "1.5.0")
"""The new one is good."""
PAY: Final = Part("pay", "2.3.1", "2.4.0")
"""The new one charges some orders twice, with clean 200s."""
SEARCH: Final = Part("search", "3.0.8", "3.1.0")
"""The new one is a server of its own, which dies."""

PARTS: Final = (CHECKOUT, PAY, SEARCH)
PART_OF: Final[Mapping[str, Part]] = {
    version: part for part in PARTS for version in (part.stable, part.canary)
}
"""By version."""
CANARIES: Final = frozenset(part.canary for part in PARTS)

DOUBLE: Final = 0.12
"""Share of orders that the new version of :data:`PAY` charges twice."""
CHARGES: Final = "charges"
"""What an order observes; and the member of a receipt that says how often it was charged."""

TWICE: Final = "orders-charged-twice"
"""The guard that is to notice it, and :data:`ERRORS` the one that notices a dead server."""
ERRORS: Final = "errors"

VISITOR: Final = "Demo-Visitor"
"""Request header: the number of a visitor of the crowd."""
VISITOR_OF_SPAN: Final = "demo.visitor"
"""Span attribute: the same number."""
WORKER: Final = "Demo-Worker"
"""Response header: process id of the worker that answered."""
DISPATCHED: Final = "Demo-Dispatched"
"""Response header: when the request was dispatched; seconds of the host's monotonic clock."""
HEARD: Final = "Demo-Heard"
"""Response header: when the worker had last heard of a kill, by the same clock; absent if never."""
