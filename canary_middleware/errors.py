"""Every error this package raises on purpose; each carries its evidence as attributes.

Two families: ``ConfigurationError`` says that *you* misused us (raised while the application is
being built, never while it serves), ``StoreError`` says that the other side misbehaved (caught at
the rim, counted, never raised into the host application).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CanaryError(Exception):
    """Base class of everything raised here."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One configuration mistake: where it is, what is wrong, and what to write instead."""

    place: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message} ({self.hint})"


class ConfigurationError(CanaryError):
    """All configuration mistakes found at once.

    Attributes:
        problems: one :class:`Problem` per mistake, in the order in which they were found.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        # On lines of their own: in one, a message and its hint are wider than a terminal.
        lines = "\n".join(f"  - {p.place}: {p.message}\n    hint: {p.hint}" for p in self.problems)
        count = len(self.problems)
        super().__init__(f"{count} configuration problem{'s' if count != 1 else ''}:\n{lines}")


class MissingExtraError(CanaryError):
    """An optional dependency is not installed.

    Attributes:
        extra: the extra of this distribution that brings it.
    """

    def __init__(self, package: str, extra: str) -> None:
        self.extra = extra
        super().__init__(
            f"{package} is not installed; run: pip install 'canary-middleware[{extra}]'"
        )


class VerbRefusedError(CanaryError):
    """A verb does not fit the present state; nothing was changed.

    Attributes:
        rollout: the rollout that was addressed, or ``None`` for the namespace.
        hint: what to do instead.
    """

    def __init__(self, message: str, *, rollout: str | None = None, hint: str = "") -> None:
        self.rollout = rollout
        self.hint = hint
        super().__init__(f"{message} ({hint})" if hint else message)


class UnknownRolloutError(VerbRefusedError):
    """Neither the control state nor any process knows the rollout; nothing was changed."""


class StoreError(CanaryError):
    """The shared store did not do what it was asked; the cause is chained."""


class StoreUnavailableError(StoreError):
    """Refused, timed out, loading, out of memory, no permission: try again later."""


class StoreCorruptError(StoreError):
    """The store answered with something that is not a control state; it is refused as a whole."""


class NotPersistedError(StoreError):
    """A kill was published to every listening process but could not be written."""


class TokenError(CanaryError):
    """A signed token was not accepted.

    Attributes:
        why: one word for counters: ``forged``, ``malformed``, ``oversized``, ``expired``,
            ``future``.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"token not accepted: {why}")
