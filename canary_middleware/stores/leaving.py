"""The end of a subscription, whatever happened in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType


class Leaving(ABC):
    """Is left in one way."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    @abstractmethod
    def _leave(self) -> None:
        """Give back what was taken."""
