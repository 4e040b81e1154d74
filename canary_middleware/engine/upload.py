"""What the client has to do with the age and the end of its request: whether its body came.

An outsider with the cookie of a canary can send a body slowly, in part, or as garbage. None of this
is a failure of the version that waits for it or chokes on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from canary_middleware.engine.measured import Measured

READS: Final = frozenset({"read", "read1", "readinto", "readline", "readlines"})


class Upload:
    """The body of one request, as far as the application has read it.

    Args:
        clock: monotonic seconds.

    Attributes:
        broken: the client went away, or sent what the server cannot read.
        over: nothing more is to come, so that nobody waits for the client any longer.
    """

    __slots__ = ("_clock", "_since", "_waited", "broken", "over")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._waited = 0.0
        self.broken = self.over = False

    def wait(self) -> None:
        """The application asks for the next piece."""
        if not self.over:
            self._since = self._clock()

    def come(self) -> None:
        """It has it, or there is none."""
        since, self._since = self._since, None
        if since is not None:
            self._waited += self._clock() - since

    @property
    def waiting(self) -> bool:
        """Whether the application waits for the client."""
        return self._since is not None

    def waited(self, now: float) -> float:
        """Seconds for which the application has waited for the client; ``now`` is monotonic."""
        since = self._since
        return self._waited + (0.0 if since is None else max(0.0, now - since))


def watch(environ: dict[str, Any], visit: Measured) -> None:
    """See what comes of a WSGI request's body, where it has one."""
    length = environ.get("CONTENT_LENGTH") or "0"
    promised = int(length) if length.isascii() and length.isdecimal() and len(length) < 19 else 0
    if promised or environ.get("HTTP_TRANSFER_ENCODING"):
        environ["wsgi.input"] = Input(environ["wsgi.input"], visit.listen(), promised)


class Input:
    """``wsgi.input`` of a server, watched.

    Args:
        stream: the server's.
        upload: what is noted.
        length: bytes that the client has promised; 0 where it did not say.
    """

    def __init__(self, stream: Any, upload: Upload, length: int) -> None:
        self._stream = stream
        self._upload = upload
        self._left = length

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        if name not in READS:
            return found

        def read(*arguments: Any) -> Any:
            return self._read(found, arguments, whole=name == "read")

        return read

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _read(self, read: Callable[..., Any], arguments: tuple[Any, ...], *, whole: bool) -> Any:
        upload, left = self._upload, self._left
        upload.wait()
        try:
            found = read(*arguments)
        except Exception:  # each server has errors of its own for a body that breaks off
            upload.broken = True
            raise
        finally:
            upload.come()
        self._left -= size(found)
        upload.over = upload.over or (left > 0 >= self._left)
        asked = arguments[0] if whole and arguments else None
        wanted = left if asked is None or asked < 0 else min(asked, left)
        # Only `read` gives all that it is asked for; the others show the end by giving nothing.
        if size(found) < (wanted if whole else min(left, 1)):
            upload.broken = True
        return found


def size(found: Any) -> int:
    """Bytes that a reading method gave."""
    if isinstance(found, list):
        return sum(map(len, found))
    return found if isinstance(found, int) else len(found or b"")
