"""The neutral words in which an application and its visitors are written down, for ASGI and WSGI.

An application is a generator function: it yields what it wants done (:class:`Start`, a chunk of the
body, :data:`READ`, :data:`END`) and an adapter per interface does it. The rest of it is plain
code that runs where a handler of that interface would run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from canary_middleware import Cohort, Rollout

if TYPE_CHECKING:
    from tests.scenarios.site import Site

Headers = Sequence[tuple[str, str]]
TEXT = ("content-type", "text/plain")


@dataclass(frozen=True)
class Start:
    """Begin the response."""

    status: int = 200
    headers: Headers = (TEXT,)


class Do(Enum):
    """Read the whole request body, which the yield gives back; end the response."""

    READ = "read"
    END = "end"


READ, END = Do.READ, Do.END

Step = Start | bytes | Do
Handling = Generator[Step, bytes | None, None]
Handler = Callable[["Site"], Handling]


@dataclass(frozen=True)
class Ask:
    """One request.

    Args:
        target: path as it stands on the request line, percent-encoded.
        who: the visitor: one who has been on that cohort, or ``None`` for a new one.
        jar: send back the cookies that earlier answers set.
        mount: where the application is mounted (``root_path``, ``SCRIPT_NAME``).
        before: done just before.
    """

    target: str = "/checkout"
    method: str = "GET"
    headers: Headers = ()
    body: bytes = b""
    who: Cohort | None = None
    jar: bool = False
    mount: str = ""
    before: Callable[[Site], object] | None = None


@dataclass
class Reply:
    """What reached the server."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    error: BaseException | None = None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


@dataclass(frozen=True)
class Expect:
    """What must have reached the server.

    Args:
        headers: exact values by lower-case name; a list for several lines, ``None`` for absence.
        issued: whether a visitor cookie was set; ``None``: either.
        raises: what the server got to see as an exception.
        arrivals: the order in which chunks were produced and arrived.
    """

    status: int = 200
    body: bytes = b"2"
    headers: Mapping[str, str | list[str] | None] = field(default_factory=dict)
    issued: bool | None = False
    raises: type[BaseException] | None = None
    arrivals: Sequence[str] | None = None


@dataclass(frozen=True)
class Row:
    """One scenario: an application, its visitors, what they get, and what is counted of it.

    Args:
        weight: of the rollout ``checkout``; ``None``: it was not started.
        counts: every outcome, such as ``{"canary 2xx": 1}``.
        events: every rare event that the recorder counted.
        rollout: arguments of the rollout, instead of the usual ones.
        canary: arguments of the facade, instead of the usual ones.
        target: the application that serves the canary, where it is one of its own.
        more: further rollouts, at the same weight.
    """

    name: str
    app: Handler
    talk: Sequence[tuple[Ask, Expect]]
    counts: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    weight: str | None = "100%"
    rollout: Mapping[str, Any] = field(default_factory=dict)
    canary: Mapping[str, Any] = field(default_factory=dict)
    target: Handler | None = None
    more: Sequence[Rollout] = ()
