"""The words of DESIGN as values: cohort, reason, visitor, audience, rollout, assignment."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from canary_middleware.core.guards import Guard, Precaution
from canary_middleware.core.ramp import Ramp


class Cohort(enum.Enum):
    """Which side a visitor is on; never a bool, so that a third arm cannot be confused with one."""

    STABLE = "stable"
    CANARY = "canary"


class Policy(enum.Enum):
    """Who stays where when the weight moves; :mod:`canary_middleware.core.pins` is the rule."""

    FOLLOW = "follow"
    KEEP = "keep"
    SESSION = "session"
    REQUEST = "request"


class Memory(enum.Enum):
    """Where a visitor's place is remembered."""

    COOKIE = "cookie"
    SHARED = "shared"


class Reason(enum.Enum):
    """Why an assignment is what it is: one word each, in order of precedence."""

    NO_REQUEST = "no_request"
    OUT_OF_SCOPE = "out_of_scope"
    KILL_SWITCH = "kill_switch"
    STALE_CONTROL = "stale_control"
    ERROR = "error"
    OTHER_RELEASE = "other_release"
    NOT_READY = "not_ready"
    IDLE = "idle"
    ROLLED_BACK = "rolled_back"
    DENIED = "denied"
    OVERRIDE = "override"
    TESTER = "tester"
    UPSTREAM = "upstream"
    PIN = "pin"
    NO_VISITOR = "no_visitor"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a request belongs to.

    Args:
        subject: a stable identifier (user id, JWT subject, API key). It never leaves the process
            in clear: buckets and bindings use a keyed hash of it.
        groups: names that :class:`Audience` can ask for, such as ``"beta"``.
        attributes: whatever a predicate wants to look at.

    Raises:
        TypeError: the subject is not a string (``user.id`` often is not), or it is empty.
    """

    subject: str
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        subject: object = self.subject
        if not (isinstance(subject, str) and subject):
            kind = type(subject).__name__
            raise TypeError(f"a visitor's subject must be a non-empty str, not this {kind}")
        groups: object = self.groups
        if isinstance(groups, str):
            raise TypeError("a visitor's groups must be a collection of str, not one str")
        if not isinstance(groups, frozenset):
            object.__setattr__(self, "groups", frozenset(self.groups))


@dataclass(frozen=True, slots=True)
class Audience:
    """A set of visitors, by subject, by group or by a predicate; empty by default.

    Args:
        subjects: subjects as ``identify`` returns them.
        groups: a visitor in any of these groups belongs to the audience.
        predicate: called with the :class:`Visitor`, not awaited; an exception in it, or an answer
            other than ``True`` and ``False``, counts as "error", hence stable.
    """

    subjects: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    predicate: Callable[[Visitor], bool] | None = None

    def __init__(
        self,
        subjects: Iterable[str] = (),
        groups: Iterable[str] = (),
        predicate: Callable[[Visitor], bool] | None = None,
    ) -> None:
        object.__setattr__(self, "subjects", _names(subjects))
        object.__setattr__(self, "groups", _names(groups))
        object.__setattr__(self, "predicate", predicate)

    def __bool__(self) -> bool:
        return bool(self.subjects or self.groups or self.predicate)

    def includes(self, visitor: Visitor) -> bool:
        """Whether the visitor belongs; whoever was not identified is never asked for."""
        if visitor.subject in self.subjects:
            return True
        if not self.groups.isdisjoint(visitor.groups):
            return True
        if self.predicate is None:
            return False
        answer: object = self.predicate(visitor)
        if not isinstance(answer, bool):
            # A coroutine, or the text "no", is true: everybody would be in.
            raise TypeError(f"a predicate must return a bool, not {type(answer).__name__}")
        return answer


def _names(value: Iterable[str]) -> Iterable[str]:
    """A set, or what is none, as it is: the validator tells of it together with everything else.

    A lone string as a set of characters would match nobody, and nobody would notice that a denied
    group is not denied.
    """
    if isinstance(value, str):
        return value
    try:
        return frozenset(value)
    except TypeError:
        return value


SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
"""Methods that may be answered twice (RFC 9110 section 9.2.1; TRACE is left out on purpose)."""

DEFAULT_EXCLUDE: Final = (
    "/static", "/assets", "/favicon.ico", "/robots.txt",
    "/health", "/healthz", "/livez", "/readyz", "/ready", "/metrics",
)  # fmt: skip
"""Static files and health probes: in no rollout, unless a rollout says ``exclude=()``."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """When stable answers in place of a canary that failed or was killed before its answer began.

    Args:
        methods: methods that may run twice; add one only where the handler is idempotent.
        budget: at most this share of the requests being served may be rescues at one time
            (with a floor of 3), after Envoy's and Finagle's retry budgets.
        enabled: ``False`` passes failures through; a kill still supersedes.
        keyed: prefixes of paths below which a request of any method may run twice if it carries an
            ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header): the application, or
            what is behind it, must know a key again that it has seen, in both versions.
    """

    methods: Sequence[str] = SAFE_METHODS
    budget: str = "20%"
    enabled: bool = True
    keyed: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Rollout:
    """One named change on its way out. Checked as a whole by :class:`canary_middleware.Canary`.

    Args:
        name: letters, digits, ``-`` and ``_``; used in the CLI, in telemetry and in tokens.
        stable: label of the version that everybody has now.
        canary: label of the new version; a new label is a new release with new buckets.
        paths: app-relative prefixes of whole segments; ``/checkout`` covers ``/checkout/pay``, not
            ``/checkout-old``.
        methods: upper-case methods; empty means all.
        exclude: prefixes that are never in scope.
        testers: identified visitors who get the canary as soon as the rollout is started, even at
            weight 0.
        denied: identified visitors who never get it.
        ramp: the planned weights.
        owner: whom to ask, one line; shown in ``status``.
        rescue: see :class:`Rescue`.
        policy: who stays when the weight moves. ``"follow"``: nobody is pinned, the weight decides
            alone. ``"keep"``: whoever saw the canary stays there, also when the weight is lowered.
            ``"session"``: both sides stay until their session ends. ``"request"``: every request is
            drawn anew. A kill, a rollback and a new release move everybody, whatever the policy.
        session: how long a visitor may be away before the session is over (policy ``session``).
        affinity: ``"cookie"`` remembers places in the visitor's cookie, ``"shared"`` in the store,
            for clients that keep no cookies and for users with several devices.
        claim_life: how long the store remembers a subject that stays away, with shared affinity;
            under policy ``session`` that is ``session``.
        rollback_window: how long after a promotion the old version is kept ready; ``finish`` before
            that is refused unless it is meant.
        guards: what is compared between the versions, see :class:`Guard`; ``Guard.defaults()`` fits
            a web application.
        precaution: the absolute ceiling over both versions; ``None`` for none.
        alpha: probability that a canary which is no worse is rolled back, over the whole rollout.
        horizon: how long after a visitor's entry business events count for it; shortened to a
            quarter of the shortest bake where that is less.
        timeout: how long an answer may not start before that is a failure.
    """

    name: str
    stable: str
    canary: str
    paths: Sequence[str] = ("/",)
    methods: Sequence[str] = ()
    exclude: Sequence[str] = DEFAULT_EXCLUDE
    testers: Audience = Audience()
    denied: Audience = Audience()
    ramp: Ramp = Ramp()
    owner: str | None = None
    rescue: Rescue = Rescue()
    policy: Policy | str = Policy.FOLLOW.value
    session: str = "30m"
    affinity: Memory | str = Memory.COOKIE.value
    claim_life: str = "30d"
    rollback_window: str = "1h"
    guards: Sequence[Guard] = ()
    precaution: Precaution | None = Precaution()
    alpha: str = "1%"
    horizon: str = "15m"
    timeout: str = "30s"

    def __post_init__(self) -> None:
        # Lists are what people write; tuples are what a frozen value needs. A lone string would
        # silently become a tuple of characters, so it is kept for the validator to refuse, as is
        # what is no list at all.
        for name in ("paths", "methods", "exclude", "guards"):
            value = getattr(self, name)
            if isinstance(value, Iterable) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        for name, kind in (("policy", Policy), ("affinity", Memory)):
            value = getattr(self, name)
            if isinstance(value, kind):  # the word is what is shared, written and compared
                object.__setattr__(self, name, value.value)


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What one visitor gets from one rollout; immutable, one per lane and reason.

    Attributes:
        rollout: name of the rollout.
        release: its canary label; ``""`` outside any rollout.
        cohort: :class:`Cohort`.
        version: the label of that cohort.
        reason: the one word why.
        epoch: revision of the last event that voids all pins.
        period: revision of the last change of weight or label.
        weight: units of 0.001 % in force when this was compiled.
        attributes: span attributes, prebuilt by telemetry.
        measured: whether what comes of it is evidence: the arm was drawn by bucket at a known
            weight. Testers, overrides and all who had no choice are counted for telemetry only.
        gauge: the :class:`~canary_middleware.core.gauge.Gauge` of what is measured against guards.
        is_canary: whether the canary was chosen.
    """

    rollout: str
    release: str
    cohort: Cohort
    version: str
    reason: Reason
    epoch: int = 0
    period: int = 0
    weight: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    measured: bool = field(default=False, repr=False)
    gauge: Any = field(default=None, repr=False)
    is_canary: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Kept, not computed: it is asked for several times per request.
        object.__setattr__(self, "is_canary", self.cohort is Cohort.CANARY)
