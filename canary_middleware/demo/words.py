"""What the shops and those who watch them must spell alike."""

from __future__ import annotations

from typing import Final

ROLLOUT: Final = "checkout"
STABLE: Final = "1.4.2"
CANARY: Final = "1.5.0"

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
