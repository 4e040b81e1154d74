"""How large the totals of one process may be."""

from __future__ import annotations

from typing import Final

from canary_middleware.errors import StoreError

MAX_TOTALS: Final = 256 * 1024
"""Bytes of the totals of one process for one release."""


def bounded(data: bytes) -> None:
    """Refuse what no store takes.

    Raises:
        StoreError: more than :data:`MAX_TOTALS` bytes.
    """
    if len(data) > MAX_TOTALS:
        raise StoreError(f"totals would take {len(data)} bytes of at most {MAX_TOTALS}")
