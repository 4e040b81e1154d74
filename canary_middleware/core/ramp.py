"""The planned way out: weights, how long and by how many visitors each is tried, and what then.

Declarations only. What moves a rollout along its ramp is :mod:`canary_middleware.core.controller`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from canary_middleware.core.duration import parse_duration
from canary_middleware.core.weight import FULL, parse_weight


@dataclass(frozen=True, slots=True)
class Step:
    """One weight of a ramp, where it differs from the others.

    Args:
        weight: such as ``"5%"``.
        bake: how long it is held at least; ``None`` takes the ramp's.
        samples: canary visitors that must have been measured at this weight; ``None``: the ramp's.
        approval: a person must ``canary approve`` before this weight is entered.
    """

    weight: str
    bake: str | None = None
    samples: int | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Ramp:
    """The weights that a release goes through, in rising order.

    Without ``bake`` nothing advances by itself: ``start`` takes the first, ``resume`` the first at
    or above the present weight, and a person moves it on. With ``bake`` the controller does.

    Args:
        steps: weights such as ``"5%"``, or :class:`Step`. They are checked together with
            everything else when the :class:`canary_middleware.Canary` is built.
        bake: how long each weight is held at least, such as ``"10m"``.
        samples: canary visitors measured per weight, at least; with 0 a step is left by its bake
            alone, and only the evidence in front of everybody still takes visitors.
        max_age: how long the whole may take, at least all bakes; then it holds, and says so.
        max_visitors: canary visitors, at most; then it holds until a person says otherwise.
        max_requests: requests to the canary, at most; likewise.
        on_breach: ``"rollback"`` or ``"pause"``.
        on_inconclusive: what to do when the evidence for 100 % does not come within ``patience``:
            ``"hold"``, ``"promote"`` (labelled "no regression found") or ``"rollback"``.
        on_no_traffic: ``"hold"`` or ``"rollback"``, when nobody measured comes for ``patience``.
        patience: how long to wait for the evidence, or for visitors, before ``on_inconclusive`` or
            ``on_no_traffic`` takes effect.
        observe: say in history what would have been done, and do nothing.
        gate: address of a webhook that must agree before the controller takes a step, see
            docs/alerts.md. It is part of the shared state, so nothing in it is secret.
    """

    steps: tuple[str | Step, ...] = ()
    bake: str | None = None
    samples: int = 50
    max_age: str = "14d"
    max_visitors: int | None = None
    max_requests: int | None = None
    on_breach: str = "rollback"
    on_inconclusive: str = "hold"
    on_no_traffic: str = "hold"
    patience: str = "1d"
    observe: bool = False
    gate: str | None = None

    def __init__(
        self,
        *steps: str | Step,
        bake: str | None = None,
        samples: int = 50,
        max_age: str = "14d",
        max_visitors: int | None = None,
        max_requests: int | None = None,
        on_breach: str = "rollback",
        on_inconclusive: str = "hold",
        on_no_traffic: str = "hold",
        patience: str = "1d",
        observe: bool = False,
        gate: str | None = None,
    ) -> None:
        given = dict(locals())
        del given["self"]
        for name, value in given.items():
            object.__setattr__(self, name, value)

    @classmethod
    def default(cls, **more: Any) -> Ramp:
        """1, 5, 25, 50, 100 %, ten minutes each."""
        return cls("1%", "5%", "25%", "50%", "100%", **{"bake": "10m", **more})

    @classmethod
    def observe_first(cls, **more: Any) -> Ramp:
        """As :meth:`default`, but it only says what it would do: for a first acquaintance."""
        return cls.default(**{"observe": True, **more})

    @classmethod
    def blue_green(cls, **more: Any) -> Ramp:
        """Testers alone first; after an approval everybody at once, with the old version warm."""
        return cls("0%", Step("100%", approval=True), **{"bake": "10m", "samples": 0, **more})

    @property
    def automatic(self) -> bool:
        """Whether the controller moves it."""
        return self.bake is not None

    @property
    def weights(self) -> tuple[int, ...]:
        """The steps in units of 0.001 %."""
        return tuple(parse_weight(step.weight) for step in self.each)

    @property
    def each(self) -> tuple[Step, ...]:
        """The steps, words as :class:`Step`."""
        return tuple(step if isinstance(step, Step) else Step(step) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Course:
    """The numbers of a ramp and of its judge, as ``start`` freezes them.

    Attributes:
        bakes: seconds per step; empty for a ramp that a person moves.
        samples: canary visitors per step.
        approvals: whether a person must agree before the step.
        max_age: seconds.
        max_visitors: 0 for any number.
        max_requests: 0 for any number.
        on_breach: see :class:`Ramp`.
        on_inconclusive: likewise.
        on_no_traffic: likewise.
        patience: seconds.
        observe: likewise.
        alpha: probability of a false rollback of the whole rollout.
        horizon: seconds after a visitor's entry within which business events count; what was
            declared, or a quarter of the shortest bake where that is less.
        timeout: seconds without the start of an answer that are a failure.
        gate: address of the webhook that must agree before each step; ``""`` for none.
    """

    bakes: tuple[int, ...] = ()
    samples: tuple[int, ...] = ()
    approvals: tuple[bool, ...] = ()
    max_age: int = 14 * 86400
    max_visitors: int = 0
    max_requests: int = 0
    on_breach: str = "rollback"
    on_inconclusive: str = "hold"
    on_no_traffic: str = "hold"
    patience: int = 86400
    observe: bool = False
    alpha: float = 0.01
    horizon: int = 900
    timeout: float = 30.0
    gate: str = ""

    @property
    def automatic(self) -> bool:
        """Whether the controller moves it."""
        return bool(self.bakes)

    def approval(self, step: int) -> bool:
        """Whether a person must agree before this step is entered."""
        return self.automatic and self.approvals[step]

    @classmethod
    def of(cls, ramp: Ramp, *, alpha: str, horizon: str, timeout: str) -> Course:
        """What a declaration means in numbers; it has been checked."""
        bakes: tuple[int, ...] = ()
        if ramp.bake is not None:
            bakes = tuple(parse_duration(step.bake or ramp.bake) for step in ramp.each)
        longest = parse_duration(horizon)
        return cls(
            bakes=bakes,
            samples=tuple(
                ramp.samples if step.samples is None else step.samples for step in ramp.each
            ),
            approvals=tuple(step.approval for step in ramp.each),
            max_age=parse_duration(ramp.max_age),
            max_visitors=ramp.max_visitors or 0,
            max_requests=ramp.max_requests or 0,
            on_breach=ramp.on_breach,
            on_inconclusive=ramp.on_inconclusive,
            on_no_traffic=ramp.on_no_traffic,
            patience=parse_duration(ramp.patience),
            observe=ramp.observe,
            alpha=parse_weight(alpha) / FULL,
            # Most of a session has to fit into a step, or nobody ever matures (STATS 4.2).
            horizon=max(1, min([longest, *(bake // 4 for bake in bakes)])),
            timeout=float(parse_duration(timeout)),
            gate=ramp.gate or "",
        )
