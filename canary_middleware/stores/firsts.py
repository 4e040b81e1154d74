"""What all stores agree on about first events: bounds, and what is an event at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from canary_middleware.core.model import Cohort
from canary_middleware.errors import StoreError
from canary_middleware.stores.forgotten import batches
from canary_middleware.stores.protocol import Entered, First

EVERYBODY: Final = 2**53
"""The limit at first. No hash reaches it, and a double holds every number up to it."""
WATCHED: Final = 4_096
"""Visitors at which half of those of a kind are forgotten."""
KINDS: Final = 32
"""Kinds of events in one run."""
LIFE: Final = 90 * 86_400.0
"""Seconds after the last event of a run until all of it is deleted."""

ENTERED: Final = 16_384
"""Entries of a run that are remembered at least; twice as many at most."""
ENTERED_LIFE: Final = 7 * 86_400.0
"""Seconds after the last entry of a run until all of them are forgotten."""

Count = tuple[str, int, Cohort]
"""Kind, period and cohort."""

_BATCH: Final = re.compile(r"[0-9a-f]{1,32}", re.ASCII)
_KIND: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def steps(events: Iterable[First]) -> Iterator[tuple[First, ...]]:
    """As many events as one step takes, at a time, so that nobody else waits for long.

    Raises:
        StoreError: one of them is no event.
    """
    checked = [_checked(event) for event in events]
    return batches(checked)


def _checked(event: First) -> First:
    is_number = 0 <= event.visitor < EVERYBODY and 0 <= event.period < EVERYBODY
    if not (is_number and _KIND.fullmatch(event.kind)):
        raise StoreError(f"a first event of kind {event.kind!r} in {event.period} cannot be kept")
    return event


def entrances(batch: str, entries: Iterable[Entered]) -> Iterator[tuple[Entered, ...]]:
    """As many entries as one step takes, at a time.

    Raises:
        StoreError: one of them is no entry, or the batch has no proper name.
    """
    if not _BATCH.fullmatch(batch):
        raise StoreError(f"a batch of entries has a hexadecimal name, not {batch!r}")
    checked = list(entries)
    for entry in checked:
        if not (0 <= entry.visitor < EVERYBODY and 0 <= entry.period < EVERYBODY):
            raise StoreError(f"an entry in {entry.period} cannot be kept")
    return batches(checked)
