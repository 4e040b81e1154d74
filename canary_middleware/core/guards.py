"""Guards: what is compared between the versions, and what happens when the canary is worse.

Declarations only. What a guard is compared by is in :mod:`canary_middleware.core.judge`.
"""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any, Final

from canary_middleware.core.weight import FULL, parse_weight


class Metric(enum.StrEnum):
    """What a guard looks at."""

    FAILURES = "failures"
    """Visitors with a 5xx, an exception, a time-out or a rescued answer."""
    CLIENT_ERRORS = "client_errors"
    """Visitors with a 4xx; outsiders make those at will."""
    LATENCY = "latency"
    """Time until the answer starts, as a whole distribution or at a quantile."""
    RETURNED = "returned"
    """Visitors who come back for a second request: throughput per visitor."""
    SHARE = "share"
    """Visitors for whom a declared metric was observed: conversions, logins, searches."""
    MEAN = "mean"
    """Mean per visitor of a declared metric: revenue."""
    NEVER = "never"
    """A declared metric exceeded what one request may observe: an order charged twice."""


class Action(enum.StrEnum):
    """What a guard does when the canary is worse."""

    BREACH = "breach"
    WARN = "warn"


class Worse(enum.StrEnum):
    """The direction in which a metric is worse."""

    HIGHER = "higher"
    LOWER = "lower"


QUANTILES: Final = ("p50", "p90", "p99")
MARGINS: Final = {"p50": "5%", "p90": "3%", "p99": "1%"}
"""Points of visitors who may be slower than stable's quantile when the canary is promoted."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One metric with a direction and a margin; made by the constructors below.

    Args:
        name: of the guard; letters, digits, ``-`` and ``_``. Each of a rollout has its own.
        metric: what it looks at.
        of: name that ``observe(name, value)`` is called with, for business metrics.
        worse: the direction in which the metric is worse.
        margin: how much worse the canary may be at most when it is promoted, in points of
            visitors (``"1%"``: at most one more of a hundred), for a mean in parts of its cap;
            ``None``: promotion asks nothing of this guard. What each margin costs in visitors is in
            docs/guards.md.
        tolerance: how much worse relative to stable is still no regression; ``"20%"``: a risk that
            is at most 1.2 times as high does not roll back.
        quantile: ``"p50"``, ``"p90"``, ``"p99"``; ``None`` is the whole distribution (latency).
        above: what one request may observe at most (never).
        cap: what one visitor counts for at most (mean); 0 takes stable's p99.5 once it is known,
            and no margin can be proven before that.
        weight: its part of the error budget, relative to the default.
        action: ``breach`` rolls back, ``warn`` only reports.
    """

    name: str
    metric: Metric
    of: str = ""
    worse: Worse = Worse.HIGHER
    margin: str | None = None
    tolerance: str = "0%"
    quantile: str | None = None
    above: float = 1.0
    cap: float = 0.0
    weight: float = 1.0
    action: Action = Action.BREACH

    def __post_init__(self) -> None:
        # Words are what people write; what is none stays for the validator to refuse.
        for name, kind in (("metric", Metric), ("worse", Worse), ("action", Action)):
            value = getattr(self, name)
            if value in list(kind):
                object.__setattr__(self, name, kind(value))

    @classmethod
    def errors(cls, *, margin: str | None = "1%", name: str = "errors", **more: Any) -> Guard:
        """5xx answers, exceptions, time-outs and rescued answers."""
        return cls(name, Metric.FAILURES, margin=margin, **more)

    @classmethod
    def client_errors(
        cls, *, name: str = "client-errors", action: str = "warn", **more: Any
    ) -> Guard:
        """4xx answers; only reported unless you say otherwise, for outsiders make them at will."""
        return cls(name, Metric.CLIENT_ERRORS, **{"action": action, **more})

    @classmethod
    def latency(
        cls,
        quantile: str | None = None,
        *,
        margin: str | None = "",
        name: str = "",
        **more: Any,
    ) -> Guard:
        """Time until the answer starts: the whole distribution, or one of :data:`QUANTILES`."""
        name = name or (f"latency-{quantile}" if quantile else "latency")
        margin = MARGINS.get(str(quantile or "p99")) if margin == "" else margin
        return cls(name, Metric.LATENCY, margin=margin, quantile=quantile, **more)

    @classmethod
    def throughput(cls, *, name: str = "throughput", action: str = "warn", **more: Any) -> Guard:
        """Visitors who come back for a second request."""
        return cls(name, Metric.RETURNED, **{"worse": Worse.LOWER, "action": action, **more})

    @classmethod
    def rate(
        cls,
        of: str,
        *,
        worse: str = "lower",
        margin: str | None = "5%",
        name: str = "",
        **more: Any,
    ) -> Guard:
        """The share of visitors for whom ``observe(of, ...)`` was called: conversions."""
        return cls(name or of, Metric.SHARE, of, margin=margin, **{"worse": worse, **more})

    @classmethod
    def mean(
        cls,
        of: str,
        *,
        worse: str = "lower",
        margin: str | None = "",
        cap: float = 0.0,
        name: str = "",
        **more: Any,
    ) -> Guard:
        """The mean per visitor of what ``observe(of, value)`` was called with: revenue.

        The margin is ``"5%"`` of the cap; without a cap none, unless one is given.
        """
        margin = ("5%" if cap else None) if margin == "" else margin
        made = {"worse": worse, **more}
        return cls(name or of, Metric.MEAN, of, margin=margin, cap=cap, **made)

    @classmethod
    def never(
        cls, of: str, *, above: float = 1.0, margin: str | None = None, name: str = "", **more: Any
    ) -> Guard:
        """``observe(of, ...)`` must not add up to more than ``above`` in one request."""
        return cls(name or of, Metric.NEVER, of, margin=margin, above=above, **more)

    @classmethod
    def defaults(cls) -> tuple[Guard, ...]:
        """What fits a web application: errors and latency breach, the rest warns."""
        return (cls.errors(), cls.latency(), cls.client_errors(), cls.throughput())

    @property
    def points(self) -> float | None:
        """The margin as a share, 0.01 for ``"1%"``."""
        return None if self.margin is None else parse_weight(self.margin) / FULL

    @property
    def slack(self) -> float:
        """The tolerance as a share."""
        return parse_weight(self.tolerance) / FULL

    @property
    def breaches(self) -> bool:
        """Whether it may roll back."""
        return self.action is Action.BREACH

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Precaution:
    """The absolute ceiling over both versions, where a comparison is blind.

    A canary inside the process can hurt stable too: a blocked loop, a leak, a drained pool. Above
    the ceiling for ``window`` the weight goes to 0 and the rollout pauses, without blame.

    Args:
        failures: share of all answers of the rollout that fail.
        p99: seconds of the 99 % quantile of the time until an answer starts.
        stall: seconds for which an event loop of the application did not turn, twice within the
            window, or once for all of it: once may be a pause of the machine.
        window: seconds that are looked at.
        least: answers in the window below which shares and quantiles say nothing.
    """

    failures: str = "50%"
    p99: float = 10.0
    stall: float = 1.0
    window: int = 5
    least: int = 20
