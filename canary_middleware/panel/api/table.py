"""The one table of the API: its routes and its description are both made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from canary_middleware.overview.series import POINTS
from canary_middleware.panel.action import OF_EVERYTHING, VERBS
from canary_middleware.panel.api import looking
from canary_middleware.panel.api.looking import KEPT, Look
from canary_middleware.panel.api.reading import Parameter
from canary_middleware.panel.people import Role

_LAST: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        method: of HTTP.
        path: below ``/api``; ``{rollout}`` is the name of one.
        name: for programs that are made from the description.
        says: what it does.
        answer: the schema of what it returns, by its name in :mod:`.schemas`.
        look: what it tells; ``None`` for what changes something.
        verb: what it does, else ``""``.
        parameters: of its query.
    """

    method: str
    path: str
    name: str
    says: str
    answer: str
    look: Look | None = None
    verb: str = ""
    parameters: tuple[Parameter, ...] = ()

    @property
    def role(self) -> Role:
        """What somebody needs to have; the guard goes by the method, too."""
        return Role.OPERATE if self.verb else Role.VIEW

    @property
    def of_rollout(self) -> bool:
        """Whether it is about one rollout."""
        return "{rollout}" in self.path


_PAGE: Final = (
    Parameter("limit", "How many lines; those of one revision stay together.", 1, 200, 20),
    Parameter("before", "Only lines of earlier revisions than this one.", 0, _LAST),
)
_FAR: Final = 10**11
_SPAN: Final = (
    Parameter("since", "Seconds since the epoch; a day before `until` by default.", 0, _FAR),
    Parameter("until", "Seconds since the epoch; now by default.", 0, _FAR),
    Parameter("points", "Steps at most; a step has whole tens of seconds.", 1, 1_000, POINTS),
)


def _looks() -> tuple[Operation, ...]:
    return (
        Operation("GET", "/status", "status", "Everything at one glance.", "Status",
                  looking.status),
        Operation("GET", "/rollouts", "rollouts", "All rollouts and what was measured.", "Scene",
                  looking.rollouts),
        Operation("GET", "/rollouts/{rollout}", "rollout", "One rollout and its releases.",
                  "Rollout", looking.one_rollout),
        Operation("GET", "/rollouts/{rollout}/history", "rollout_history",
                  f"Its history, the newest first, of the last {KEPT} lines.", "History",
                  looking.history, parameters=_PAGE),
        Operation("GET", "/rollouts/{rollout}/series", "series",
                  "Rates, shares and quantiles per version over time; null where nothing was "
                  "measured.", "Chart", looking.series, parameters=_SPAN),
        Operation("GET", "/history", "history",
                  f"All history, the newest first, of the last {KEPT} lines.", "History",
                  looking.history, parameters=_PAGE),
        Operation("GET", "/processes", "processes", "Processes that report.", "Processes",
                  looking.processes),
    )  # fmt: skip


_ANSWERS: Final = {"kill": "Killed", "revive": "Revived"}


def _of_rollout(verb: str) -> Operation:
    return Operation(
        "POST", f"/rollouts/{{rollout}}/{verb}", verb, VERBS[verb].says,
        _ANSWERS.get(verb, "Change"), verb=verb,
    )  # fmt: skip


def _of_everything(verb: str) -> Operation:
    says = f"{VERBS[verb].says[:-1]}: all rollouts."
    return Operation("POST", f"/{verb}", f"{verb}_everything", says, _ANSWERS[verb], verb=verb)


OPERATIONS: Final[tuple[Operation, ...]] = (
    *_looks(),
    *map(_of_rollout, VERBS),
    *map(_of_everything, OF_EVERYTHING),
)

DESCRIPTION: Final = "/openapi.json"
"""Where the description is; it is not in itself."""


def by_path() -> Mapping[str, Mapping[str, Operation]]:
    """The operations of each path by method."""
    found: dict[str, dict[str, Operation]] = {}
    for one in OPERATIONS:
        found.setdefault(one.path, {})[one.method] = one
    return found
