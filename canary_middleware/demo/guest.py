"""The panel of the demo, for whoever plays it: a server of its own, and one token to get in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from canary_middleware.demo.processes import LOCALHOST
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.tokens import mint, written

NAME: Final = "you"
"""Of the guest; history has it."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who may see and operate the panel.

    Attributes:
        port: of the panel.
        token: to sign in with; it is worth nothing after the demo.
    """

    port: int
    token: str

    @classmethod
    def of(cls, port: int) -> Self:
        """With a token of their own."""
        return cls(port, mint())

    @property
    def url(self) -> str:
        """Of the panel."""
        return f"http://{LOCALHOST}:{self.port}/"

    def command(self, directory: Path) -> Sequence[str]:
        """What serves the panel.

        Args:
            directory: for the token file; nobody else may read there.
        """
        tokens = directory / "panel.tokens"
        tokens.touch(mode=0o600)
        tokens.write_text(f"{written(Person(NAME, Role.OPERATE), self.token)}\n")
        return [
            sys.executable, "-m", "canary_middleware.cli", "panel",
            "--host", LOCALHOST, "--port", str(self.port), "--tokens", str(tokens),
        ]  # fmt: skip
