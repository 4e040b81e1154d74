"""What one service tells the next about the visitor whose request it serves, and whom it believes.

Two headers. ``Canary-Context`` is a short-lived signed token: the cohort that each rollout gave,
valid for the release and the epoch in which it was given. ``baggage`` (W3C) names the versions in
clear for telemetry; anybody can write it. Neither says who the visitor is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from canary_middleware.core.model import Cohort
from canary_middleware.core.snapshot import Lane
from canary_middleware.core.state import Phase
from canary_middleware.core.token import MAX_TOKEN, TokenCodec
from canary_middleware.errors import Problem, TokenError

HEADER: Final = "Canary-Context"
BAGGAGE: Final = "baggage"
KIND: Final = "service"
"""Of the :class:`~canary_middleware.core.token.TokenCodec` that signs it."""
LIFE: Final = 60
"""Seconds for which a context is valid."""
SKEW: Final = 60
"""Seconds by which the clocks of two services may differ."""
MAX_BAGGAGE: Final = 8192
"""Bytes of a baggage header that every party has to pass on (W3C Baggage, section 3.3.2)."""

_FORMAT: Final = "1"
_PREFIX: Final = "canary."
_TIME: Final = re.compile(r"\d{1,12}")
_PART: Final = re.compile(r"([A-Za-z0-9_-]{1,64}):([^:]{1,192}):([cs]):(\d{1,16})")
_SIDES: Final = {Cohort.CANARY: "c", Cohort.STABLE: "s"}
_COHORTS: Final = {side: cohort for cohort, side in _SIDES.items()}


class Carried(NamedTuple):
    """What a signed context says of one rollout.

    Attributes:
        rollout: its name.
        release: its canary label.
        cohort: the side that the calling service gave.
        epoch: under which it was given; a kill that is revived, a rollback and a new start end it.
    """

    rollout: str
    release: str
    cohort: Cohort
    epoch: int

    def cohort_in(self, lane: Lane) -> Cohort | None:
        """The cohort that it asks for; ``None`` if it speaks of another release or epoch."""
        entry = lane.entry
        if entry is None or (self.release, self.epoch) != (entry.release, entry.epoch):
            return None
        return self.cohort

    @property
    def version(self) -> str | None:
        """The label, as far as it is known."""
        return self.release if self.cohort is Cohort.CANARY else None


class Named(NamedTuple):
    """What unsigned baggage says of one rollout: a label."""

    rollout: str
    version: str

    def cohort_in(self, lane: Lane) -> Cohort | None:
        """The cohort of that label; ``None`` if the lane has none such."""
        rollout = lane.track.rollout
        return {rollout.canary: Cohort.CANARY, rollout.stable: Cohort.STABLE}.get(self.version)


Told = Carried | Named
"""What a trusted caller says of one rollout."""


def upstream(lane: Lane, told: Told | None) -> Cohort | None:
    """The cohort that a trusted caller asks for, if the phase of the lane admits it.

    What is finished has no stable side any more.
    """
    cohort = told.cohort_in(lane) if told is not None else None
    finished = lane.entry is not None and lane.entry.phase is Phase.FINISHED
    return None if finished and cohort is Cohort.STABLE else cohort


# --- the signed context -------------------------------------------------------------------------


def write(codec: TokenCodec, carried: Iterable[Carried], now: float) -> str:
    """A context issued ``now`` (wall-clock seconds), at most 512 bytes.

    Rollouts that do not fit are left out, the later ones first.
    """
    fields = [_FORMAT, str(int(now))]
    token = codec.sign(fields)
    for one in carried:
        fields.append(f"{one.rollout}:{_label(one.release)}:{_SIDES[one.cohort]}:{one.epoch}")
        longer = codec.sign(fields)
        if len(longer) > MAX_TOKEN:
            break
        token = longer
    return token


def _label(release: str) -> str:
    """A label without dots and colons, which separate."""
    return quote(release, safe="").replace(".", "%2E")


def read(codec: TokenCodec, token: bytes, now: float) -> Mapping[str, Carried]:
    """What a genuine context says, by rollout.

    Raises:
        TokenError: ``oversized``, ``malformed``, ``forged``, ``expired``, or ``future`` where it
            was issued later than :data:`SKEW` seconds from now.
    """
    form, *rest = codec.verify(token).fields
    if form != _FORMAT or not rest or not _TIME.fullmatch(rest[0]):
        raise TokenError("malformed")
    age = now - int(rest[0])
    if age > LIFE + SKEW:
        raise TokenError("expired")
    if age < -SKEW:
        raise TokenError("future")
    return {carried.rollout: carried for carried in map(_carried, rest[1:])}


def _carried(field: str) -> Carried:
    found = _PART.fullmatch(field)
    if found is None:
        raise TokenError("malformed")
    rollout, release, side, epoch = found.groups()
    return Carried(rollout, unquote(release), _COHORTS[side], int(epoch))


# --- baggage ------------------------------------------------------------------------------------


def member(rollout: str, version: str) -> str:
    """One member of a baggage header, such as ``canary.checkout=1.5.0``."""
    return f"{_PREFIX}{rollout}={quote(version, safe='')}"


def named(baggage: str) -> Mapping[str, Named]:
    """The versions that a baggage header names, by rollout."""
    pairs = (part.partition(";")[0].partition("=") for part in baggage.split(","))
    return {
        rollout: Named(rollout, unquote(value.strip()))
        for key, _, value in pairs
        if (rollout := key.strip().removeprefix(_PREFIX)) != key.strip()
    }


def merged(baggage: str, members: Sequence[str]) -> str:
    """A baggage header in which nobody but us speaks of versions; the rest stays as it is.

    Ours are left out where the whole would be longer than a header may be.
    """
    others = [part.strip() for part in baggage.split(",") if part.strip() and not _ours(part)]
    line = ",".join([*others, *members])
    return line if len(line) <= MAX_BAGGAGE else ",".join(others)


def _ours(part: str) -> bool:
    # Decoded, as OpenTelemetry does with keys: another spelling would be ours again behind it.
    return unquote(part.partition("=")[0]).strip().lower().startswith(_PREFIX)


# --- whom to believe ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Callers:
    """Which calling services may say what cohort a visitor has; by default nobody.

    Args:
        signed: whoever signs with one of our keys in our namespace.
        networks: addresses such as ``"10.0.0.0/8"`` whose unsigned baggage counts. It is the
            address of the direct peer that must lie there, and whatever stands there must let no
            baggage of outsiders through.
    """

    signed: bool = False
    networks: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.signed or self.networks)


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def caller_problems(callers: object) -> Iterator[Problem]:
    """What is wrong with the setting."""
    if not isinstance(callers, Callers):
        wrong = f"is {type(callers).__name__}, not Callers"
        yield Problem("callers", wrong, "Callers(signed=True)")
        return
    signed: object = callers.signed
    if not isinstance(signed, bool):
        yield Problem("callers", f"signed={signed!r} is neither true nor false", "signed=True")
    networks: object = callers.networks
    if isinstance(networks, str) or not isinstance(networks, Sequence):
        wrong = f"networks is {type(networks).__name__}, not a list"
        yield Problem("callers", wrong, 'networks=["10.0.0.0/8"]')
        return
    for network in networks:
        yield from _network_problems(network)


def _network_problems(network: object) -> Iterator[Problem]:
    try:
        found = ipaddress.ip_network(network) if isinstance(network, str) else None
    except ValueError:
        found = None
    if found is None:
        yield Problem("callers", f"{network!r} is not a network", 'such as "10.0.0.0/8"')
    elif found.prefixlen == 0:
        wrong = f"{network} is everybody: whoever sends a header would choose"
        yield Problem("callers", wrong, "name the network that your services stand in")


class Peers:
    """Whose unsigned baggage counts.

    Args:
        networks: as in :class:`Callers`, already checked.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks: tuple[Network, ...] = tuple(map(ipaddress.ip_network, networks))

    def __bool__(self) -> bool:
        return bool(self._networks)

    def include(self, address: str | None) -> bool:
        """Whether a peer's address lies in one of the networks; a Unix socket has none."""
        try:
            found = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
            found = found.ipv4_mapped  # what a dual-stack socket makes of an IPv4 peer
        return any(found in network for network in self._networks)
