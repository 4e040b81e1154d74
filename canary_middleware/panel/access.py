"""Who is let in: by a token of the file, by the session of one, or by the host's own check."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

from canary_middleware.panel import sessions
from canary_middleware.panel.headers import HOST_STATE
from canary_middleware.panel.limits import Attempts, Sparing
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.refusals import clipped
from canary_middleware.panel.token_file import TokenFile
from canary_middleware.panel.tokens import LONGEST_NAME, Line, find

logger = logging.getLogger("canary_middleware.panel")

Check: TypeAlias = Callable[[Request], Awaitable[Person | None] | Person | None]

_CHECKS_AT_ONCE: Final = 8
_SCHEME: Final = "bearer "


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody who is let in.

    Attributes:
        person: who.
        secret: what only this browser holds, for its forms; ``None`` for bearers of a token, which
            no other site can make them send; ``""`` where the browser has yet to be given one.
    """

    person: Person
    secret: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Somebody who is not.

    Attributes:
        wait: seconds after which a wrong token may be tried again; 0 where none was tried, or
            not too many.
    """

    wait: float = 0.0


class Access(Protocol):
    """Decides about requests."""

    signs_in: bool
    """Whether there is a page to sign in."""
    cookie: str
    """Name of the cookie that holds the secret of a browser."""
    every: float
    """Seconds between two questions whether somebody may stay."""

    async def admit(self, scope: Scope, address: str, /) -> Admitted | Refused:
        """Who a request is from."""

    async def still(self, scope: Scope, admitted: Admitted) -> bool:
        """Whether somebody who was let in may stay; asked while an answer goes on."""


class TokenAccess:
    """By the token file.

    Args:
        file: who there is.
        namespace: of the panel; sessions of another do not count here.
        wall: seconds since the epoch, for sessions.
        clock: monotonic seconds, for limits.
    """

    signs_in = True
    every = 0.0

    def __init__(
        self,
        file: TokenFile,
        namespace: str,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.file = file
        self.cookie = f"canary_panel_{namespace}"
        self._namespace, self._wall = namespace, wall
        self._attempts, self._sparing = Attempts(clock), Sparing(clock)

    async def admit(self, scope: Scope, address: str) -> Admitted | Refused:
        """Who a request is from: a bearer, else a session."""
        given = _bearer(scope)
        if given is not None:
            tried = self.sign_in(given, address, by_form=False)
            return Admitted(tried.person, None) if isinstance(tried, Line) else tried
        value = Request(scope).cookies.get(self.cookie, "")
        line = self._holder(value) if value else None
        return Admitted(line.person, value) if line else Refused()

    async def still(self, scope: Scope, admitted: Admitted) -> bool:
        """Whether the token or the session still counts; nothing of it is an attempt."""
        if admitted.secret is None:
            line = find(self.file.lines(), _bearer(scope) or "")
        else:
            line = self._holder(admitted.secret)
        return line is not None and line.person == admitted.person

    def sign_in(self, token: str, address: str, *, by_form: bool = True) -> Line | Refused:
        """The line of a token; wrong ones are counted, a right one always passes."""
        line = find(self.file.lines(), token)
        if line is not None:
            if by_form:
                logger.info("panel: %s signed in from %s", clipped(line.person.name), address)
            return line
        wait = self._attempts.wrong(address)
        left_out = self._sparing.left_out()
        if left_out is not None:
            more = f" ({left_out} more such lines were left out)" if left_out else ""
            logger.warning("panel: a wrong token from %s%s", address or "unknown", more)
        return Refused(wait)

    def session(self, line: Line, token: str) -> str:
        """The cookie of a session that begins now."""
        return sessions.issue(line, token, self._namespace, self._wall())

    def _holder(self, value: str) -> Line | None:
        return sessions.holder(value, self.file.lines(), self._namespace, self._wall())


class HostAccess:
    """By the check of the application that the panel is mounted in.

    What the check raises, or returns beside a ``Person`` or ``None``, lets nobody in.

    Args:
        check: gets the request, without its body; asynchronous, or a plain function, which is run
            in a thread.
        namespace: of the panel.
    """

    signs_in = False
    every = 10.0

    def __init__(self, check: Check, namespace: str) -> None:
        self.cookie = f"canary_panel_form_{namespace}"
        self._check = check
        self._limiter: anyio.CapacityLimiter | None = None

    async def admit(self, scope: Scope, _address: str) -> Admitted | Refused:
        """Who the host application says that it is."""
        person = await self._ask(scope)
        if person is None:
            return Refused()
        if _bearer(scope) is not None:
            return Admitted(person, None)
        return Admitted(person, Request(scope).cookies.get(self.cookie, ""))

    async def still(self, scope: Scope, admitted: Admitted) -> bool:
        """Asks it once more."""
        return await self._ask(scope) == admitted.person

    async def _ask(self, scope: Scope) -> Person | None:
        request = Request({**scope, "state": scope.get(HOST_STATE, {})})
        if self._limiter is None:  # a limiter belongs to the event loop that made it
            self._limiter = anyio.CapacityLimiter(_CHECKS_AT_ONCE)
        # In a thread it may block; an asynchronous one only makes its coroutine there.
        call = partial(self._check, request)
        found = await anyio.to_thread.run_sync(call, limiter=self._limiter)
        if inspect.isawaitable(found):
            found = await found
        if found is None:
            return None
        if not isinstance(found, Person):
            raise TypeError(f"check returned {type(found).__name__}, and no Person or None")
        if not isinstance(found.role, Role):
            raise TypeError(f"check returned a Person whose role is {type(found.role).__name__}")
        return Person(clipped(found.name)[:LONGEST_NAME] or "unknown", found.role)


def _bearer(scope: Scope) -> str | None:
    """The token that a program sends; browsers add none by themselves, unlike other schemes."""
    given = Headers(scope=scope).get("authorization", "")
    return given[len(_SCHEME) :].strip() if given.lower().startswith(_SCHEME) else None
