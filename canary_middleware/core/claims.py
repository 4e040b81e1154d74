"""Shared affinity: what a store remembers of one subject in one rollout, and who wins a race.

Pure. :func:`contend` is the whole rule; stores that can run Python inside their transaction call
it, the Redis script (stores/lua/claim.lua) says the same in Lua, and the contract suite holds them
together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, NamedTuple

from canary_middleware.core.bucket import SPACE
from canary_middleware.core.model import Cohort
from canary_middleware.core.token import urlsafe

MAX_NUMBER: Final = 2**53 - 1

_TEXT: Final = re.compile(rb"1:([0-9a-f]{1,64}):(\d{1,16}):(\d{1,16}):([cs]):(\d{1,16})")


class Claim(NamedTuple):
    """The draw of one subject, and the cohort that it gave.

    Attributes:
        lineage: of the control state under which it was made.
        epoch: likewise; a claim of another epoch pins nobody, though its bucket stays.
        period: in which ``cohort`` was drawn.
        cohort: the side that a policy may hold the subject on.
        bucket: place of the subject in [0, ``SPACE``).
    """

    lineage: str
    epoch: int
    period: int
    cohort: Cohort
    bucket: int


@dataclass(slots=True)  # not frozen: that triples what it costs a first sight to make one
class Ask:
    """One question of a request: whose place is this, and if nobody's, mine.

    Attributes:
        rollout: its name.
        key: keyed hash of the subject; from :func:`claim_key`.
        origin: key of the anonymous visitor that this subject was until it signed in, whose place
            it takes over if it has none yet; ``None`` for all others.
        lineage: of the control state that the process follows; hexadecimal digits.
        epoch: of the release there.
        period: likewise.
        limit: buckets below it are on canary.
        bucket: the subject's own draw.
        raises: a stable claim becomes canary once the weight covers it (policy ``keep``).
        life: milliseconds after its last sight for which a claim is kept.
        remembered: what the asking process holds itself, for a store that has lost it.
    """

    rollout: str
    key: str
    origin: str | None
    lineage: str
    epoch: int
    period: int
    limit: int
    bucket: int
    raises: bool
    life: int
    remembered: Claim | None = None


def contend(held: Claim | None, origin: Claim | None, ask: Ask) -> Claim:
    """The claim after a question; it is written unless it is what the store holds.

    Args:
        held: what stands under ``ask.key``.
        origin: what stands under ``ask.origin``, ``None`` if nothing is asked or there.
        ask: the question.

    Returns:
        ``held`` where it is of this epoch or of a later one; the asking process, which is behind
        then, has to serve stable. Otherwise a claim of the epoch of ``ask``.
    """
    # What stands in the store comes first, then what the process remembers, then whose place is
    # taken over.
    held = held or ask.remembered or origin
    if held is not None and held.lineage == ask.lineage:
        if held.epoch > ask.epoch:
            return held
        if held.epoch == ask.epoch:
            rises = ask.raises and held.cohort is Cohort.STABLE and held.bucket < ask.limit
            return held._replace(cohort=Cohort.CANARY, period=ask.period) if rises else held
    # The draw outlives the epoch: a kill that is revived must not give a user another bucket.
    bucket = held.bucket if held is not None else ask.bucket
    cohort = Cohort.CANARY if bucket < ask.limit else Cohort.STABLE
    return Claim(ask.lineage, ask.epoch, ask.period, cohort, bucket)


def encode_claim(claim: Claim) -> bytes:
    """As it stands in a store: ``1:<lineage>:<epoch>:<period>:<c or s>:<bucket>``."""
    side = "c" if claim.cohort is Cohort.CANARY else "s"
    return f"1:{claim.lineage}:{claim.epoch}:{claim.period}:{side}:{claim.bucket}".encode("ascii")


def decode_claim(data: bytes) -> Claim | None:
    """The inverse of :func:`encode_claim`; ``None`` for what is none, which counts as absent."""
    found = _TEXT.fullmatch(data)
    if found is None:
        return None
    lineage, side = found[1].decode(), found[4]
    epoch, period, bucket = int(found[2]), int(found[3]), int(found[5])
    if max(epoch, period) > MAX_NUMBER or bucket >= SPACE:
        return None
    return Claim(lineage, epoch, period, Cohort.CANARY if side == b"c" else Cohort.STABLE, bucket)


def claim_key(key: bytes, kind: bytes, subject: str) -> str:
    """Keyed hash of a subject, 22 characters of base64url; nobody without the key can test a guess.

    Args:
        key: of the lane, from :func:`canary_middleware.core.bucket.lane_key`.
        kind: ``ANONYMOUS`` or ``IDENTIFIED``.
        subject: as ``identify`` gave it, or the id in the cookie.
    """
    data = kind + subject.encode("utf-8", "surrogatepass")
    digest = blake2b(data, key=key, digest_size=16, person=b"canary-claim").digest()
    return urlsafe(digest).decode("ascii")
