"""Revoked claims on their way to whoever remembers them: :class:`Forgotten` as JSON, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

from canary_middleware.core.reading import parse
from canary_middleware.stores.protocol import Forgotten

MOST: Final = 500
"""Claims in one push, in one script, in one step of a listing."""
MAX_BYTES: Final = 64 * 1024

T = TypeVar("T")


def encode_forgotten(forgotten: Forgotten) -> bytes:
    """As it is pushed."""
    text = {"rollout": forgotten.rollout, "keys": list(forgotten.keys)}
    return json.dumps(text, separators=(",", ":")).encode("ascii")


def decode_forgotten(data: bytes) -> Forgotten:
    """The inverse of :func:`encode_forgotten`.

    Raises:
        StoreCorruptError: anything else.
    """
    fields = parse(data, MAX_BYTES, "forgotten").fields("rollout", "keys")
    keys = fields["keys"].texts()
    if len(keys) > MOST:
        fields["keys"].refuse(f"names more than {MOST} claims")
    return Forgotten(fields["rollout"].text(), keys)


def batches(keys: Iterable[T]) -> Iterator[tuple[T, ...]]:
    """At most :data:`MOST` at a time."""
    left = iter(keys)
    while batch := tuple(islice(left, MOST)):
        yield batch
