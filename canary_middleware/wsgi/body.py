"""The closing iterator around what an application returned."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from canary_middleware.core.outcomes import OutcomeClass, classify
from canary_middleware.core.rescue import Superseded
from canary_middleware.engine.visit import Visit

if TYPE_CHECKING:
    from canary_middleware.wsgi.answer import Answer

logger = logging.getLogger("canary_middleware")


class Body:
    """The closing iterator.

    Not a generator: one that is closed before its first item runs no ``finally``.
    """

    __slots__ = ("_answer", "_body", "_iterator", "_over")

    def __init__(self, answer: Answer, body: Iterable[bytes]) -> None:
        self._answer = answer
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        answer = self._answer
        try:
            # The first item is asked for here and not before: a generator starts its response then.
            iterator = self._iterator
            if iterator is None:
                iterator = self._iterator = iter(self._body)
            item = next(iterator)
            if answer.visit.exposed and answer.cut():
                raise StopIteration
            if answer.superseded is None:
                return item
        except StopIteration:
            if answer.superseded is None:
                # Booked now; the context stays, for what the application does in its `close`.
                self._over = True
                answer.visit.finish(classify(answer.visit.status))
                raise
        except BaseException as error:  # whatever it is, it ends the request
            if not answer.survives(error):
                self._over = True
                answer.visit.finish(ending(error, answer.visit))
                raise
        close_abandoned(self._body)
        # Let go of it first: should stable raise, `close` must not close the canary again.
        self._body, self._iterator = (), None
        self._body = answer.again()
        return next(self)

    def close(self) -> None:
        """Close what the application returned; a body that was not read to its end was aborted."""
        try:
            close(self._body)
        finally:
            self._answer.end(None if self._over else OutcomeClass.ABORTED)


class SizedBody(Body):
    """A body whose length servers use to set Content-Length (PEP 3333)."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # only made for bodies that have a length


def close(body: object) -> None:
    """Call ``close()`` if there is one."""
    closing = getattr(body, "close", None)
    if closing is not None:
        closing()


def close_abandoned(body: object) -> None:
    """Close what a superseded canary returned; if that fails, stable answers all the same."""
    try:
        close(body)
    except (Exception, Superseded) as error:  # any application may raise anything in `close`
        logger.warning("a superseded canary failed in close()", exc_info=error)


def ending(error: BaseException, visit: Visit) -> OutcomeClass:
    """How a request that raised is booked; before the start an OSError is the application's own."""
    lost = visit.started and isinstance(error, OSError) and not isinstance(error, TimeoutError)
    # A canary around this one may take its answer back; that is no fault of what is in here.
    gone = isinstance(error, (GeneratorExit, Superseded))
    return OutcomeClass.ABORTED if lost or gone else OutcomeClass.EXCEPTION
