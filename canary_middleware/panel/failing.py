"""What an error means to who asked: a status, a word for programs, a line, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.errors import (
    CanaryError,
    NotPersistedError,
    Problem,
    StoreCorruptError,
    StoreError,
    UnknownRolloutError,
    VerbRefusedError,
)
from canary_middleware.overview.wording import shown
from canary_middleware.panel.action import BadInputError
from canary_middleware.panel.unchanged import OutdatedError


class NotAllowedError(CanaryError):
    """Who only views has asked for a change; nothing was done."""


class UnconfirmedError(VerbRefusedError):
    """There is a doubt, and nobody has said that it is meant all the same; nothing was done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a page or a program gets it.

    Attributes:
        status: of the HTTP response.
        code: one word for programs, see :data:`MEANINGS`.
        message: one line.
        hint: what to do instead; ``""`` for nothing.
        problems: one per field that cannot be read.
    """

    status: int
    code: str
    message: str
    hint: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def title(self) -> str:
        """What such a failure is, always in the same words; ``""`` for what is none of a verb."""
        return next((one.title for one in MEANINGS if one.code == self.code), "")


@dataclass(frozen=True, slots=True)
class Meaning:
    """One sort of failure."""

    kind: type[CanaryError]
    status: int
    code: str
    title: str
    hint: str = ""


# The first that fits.
MEANINGS: Final[Sequence[Meaning]] = (
    Meaning(BadInputError, 422, "bad_input", "The request cannot be read"),
    Meaning(
        NotAllowedError, 403, "not_allowed", "The role view changes nothing",
        "ask somebody with the role operate",
    ),
    Meaning(UnknownRolloutError, 404, "unknown_rollout", "There is no such rollout"),
    Meaning(OutdatedError, 409, "outdated", "It was changed meanwhile"),
    Meaning(UnconfirmedError, 409, "unconfirmed", "It has to be meant"),
    Meaning(VerbRefusedError, 409, "refused", "It does not fit now"),
    Meaning(
        NotPersistedError, 507, "not_persisted", "Killed, but the store could not keep it",
        "every process that listens was told, one that starts now was not: free memory of the "
        "store and kill again",
    ),
    Meaning(
        StoreCorruptError, 503, "unreadable", "The state cannot be read",
        "a kill works all the same",
    ),
    Meaning(
        StoreError, 503, "store_unavailable", "The store does not answer",
        "running processes go on with what they know, for max_staleness (docs/runbook.md, The "
        "store is down)",
    ),
)  # fmt: skip
_REST: Final = Meaning(CanaryError, 500, "failed", "Failed")


def status_of(error: CanaryError) -> Failure:
    """What an error means; nothing in it is secret, and it is one line."""
    found = next((one for one in MEANINGS if isinstance(error, one.kind)), _REST)
    hint = getattr(error, "hint", "") or found.hint
    message = str(error)
    if isinstance(error, VerbRefusedError) and error.hint:
        message = message.removesuffix(f" ({error.hint})")
    problems = error.problems if isinstance(error, BadInputError) else ()
    return Failure(found.status, found.code, shown(message), shown(hint), problems)
