"""What passes between a server and an application, and the starts that we have a say in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final

from canary_middleware.core.active import ActiveVisit, active_visit
from canary_middleware.engine.heads import wsgi_heads

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]

HEADS: Final = wsgi_heads()


def numeric(status: str) -> int:
    """The number of a status line; 0 for one without, which is the server's to refuse."""
    code = status[:3]
    return int(code) if code.isascii() and code.isdecimal() else 0


def is_event_stream(headers: list[tuple[str, str]]) -> bool:
    """Whether these headers announce server-sent events."""
    for name, value in headers:
        if value.startswith("text/event-stream") and name.lower() == "content-type":
            return True
    return False


def keeping(start_response: StartResponse, cookie: str) -> StartResponse:
    """As it was, for a request outside of every rollout, whose answer carries this cookie."""

    def start(status: str, headers: list[tuple[str, str]], *exc_info: ExcInfo) -> Write:
        return start_response(status, HEADS.keeping(cookie, headers), *exc_info)

    return start


def unfinished() -> ActiveVisit | None:
    """The visit of a request that this thread is still in the middle of."""
    visit = active_visit.get()
    # A caller that never closed an answer left its visit here, and the thread serves others now.
    return None if visit is None or visit.finished else visit
