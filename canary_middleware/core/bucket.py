"""Buckets: a visitor's fixed place in [0, 1) for one release, as a 53-bit integer.

Keyed BLAKE2b (RFC 7693), so that nobody without the secret can predict or choose a place, and so
that rollouts and releases are independent: their keys differ.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Final

from canary_middleware.core.weight import FULL

BITS: Final = 53
SPACE: Final = 1 << BITS

Draws = Callable[[bytes], int]

ANONYMOUS: Final = b"a:"
IDENTIFIED: Final = b"s:"

# WARNING: nothing in `lane_key` or `draw` may ever change, not the order of the parts, not the
# person strings, not the shift. Every visitor of every running rollout would be drawn anew on the
# day of the upgrade, in the middle of somebody's checkout, and processes of the old and the new
# version of this package would disagree about everybody. tests/core/test_bucket.py holds known
# answers; if they fail, the change is wrong and not the test.


def lane_key(secret: bytes, namespace: str, rollout: str, release: str) -> bytes:
    """The 32-byte key under which one release draws its visitors.

    Args:
        secret: ``bucket_secret``, or ``b""`` where all visitors are anonymous (their ids are random
            and signed, so there is nothing to predict that they could not re-roll).
    """
    root = blake2b(secret, digest_size=32, person=b"canary-secret").digest()
    parts = [part.encode("utf-8", "surrogatepass") for part in (namespace, rollout, release)]
    message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return blake2b(message, key=root, digest_size=32, person=b"canary-lane").digest()


def draw(key: bytes, kind: bytes, subject: str) -> int:
    """The bucket of a subject: uniform over [0, ``SPACE``).

    Args:
        key: from :func:`lane_key`.
        kind: ``ANONYMOUS`` or ``IDENTIFIED``, so that a user named like an id is not that id.
    """
    return draws(key)(kind + subject.encode("utf-8", "surrogatepass"))


def draws(key: bytes) -> Draws:
    """:func:`draw` for many subjects, given as kind and UTF-8 in one."""
    keyed = blake2b(key=key, digest_size=8)
    unpack: Callable[[bytes], tuple[int]] = Struct(">Q").unpack

    def bucket(subject: bytes) -> int:
        # A copy of the keyed hash costs half of keying one anew.
        digest = keyed.copy()
        digest.update(subject)
        return unpack(digest.digest())[0] >> 11

    return bucket


def threshold(weight: int) -> int:
    """Buckets below it are on canary at this weight (0.001 %): at 0 nobody, at FULL everybody."""
    return -(-weight * SPACE // FULL)
