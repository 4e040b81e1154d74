"""Who is asking, and what they may. Values only."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.Enum):
    """What somebody may do; whoever may operate may also view."""

    VIEW = "view"
    OPERATE = "operate"

    def covers(self, needed: Role) -> bool:
        """Whether this is enough."""
        return self is Role.OPERATE or needed is Role.VIEW


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has been let in.

    Attributes:
        name: for the audit trail, of at most 80 characters.
        role: what they may.
    """

    name: str
    role: Role

    def origin(self, address: str) -> str:
        """``by`` of what they do: who, by what, from where."""
        return f"{self.name} (panel, from {address or 'unknown'})"
