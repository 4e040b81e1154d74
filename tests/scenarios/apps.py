"""Neutral applications that scenarios share."""

from __future__ import annotations

from collections.abc import Sequence

from canary_middleware import current
from tests.scenarios.site import Site
from tests.scenarios.words import END, READ, TEXT, Handler, Handling, Headers, Start


class BoomError(Exception):
    """What a broken handler raises."""


def which() -> bytes:
    """The version of this visitor, as a body."""
    return current("checkout").version.encode()


def version(site: Site) -> Handling:
    """Tells the version, in one piece."""
    body = which()
    yield Start()
    yield body


def hello(site: Site) -> Handling:
    """Never asks for a version."""
    yield Start()
    yield b"hello"


def answer(
    status: int = 200, headers: Headers = (TEXT,), chunks: Sequence[bytes] = (b"x",)
) -> Handler:
    """Asks for the version and answers the same in both."""

    def app(site: Site) -> Handling:
        current("checkout")
        yield Start(status, headers)
        for chunk in chunks:
            yield site.produced(chunk)

    return app


def answer_by_version(stable: Handler, canary: Handler) -> Handler:
    """One application for each version."""

    def app(site: Site) -> Handling:
        yield from (canary if current("checkout").is_canary else stable)(site)

    return app


def plain(
    status: int = 200, headers: Headers = (TEXT,), chunks: Sequence[bytes] = (b"x",)
) -> Handler:
    """Answers without asking for a version."""

    def app(site: Site) -> Handling:
        yield Start(status, headers)
        yield from chunks

    return app


def raising(site: Site) -> Handling:
    """Raises before the start."""
    yield from ()
    raise BoomError


def raising_after_start(site: Site) -> Handling:
    """Raises where the status is out already."""
    current("checkout")
    yield Start()
    raise BoomError


def refused(site: Site) -> Handling:
    """Cannot reach something behind it."""
    yield from ()
    current("checkout")
    raise ConnectionRefusedError


def timing_out(site: Site) -> Handling:
    """Waits for something in vain."""
    current("checkout")
    yield Start()
    raise TimeoutError


def raising_in_the_middle(site: Site) -> Handling:
    """Raises between two chunks."""
    current("checkout")
    yield Start()
    yield b"half"
    raise BoomError


def echo(site: Site) -> Handling:
    """Reads the body, and gives it back with the version."""
    body = yield READ
    yield Start()
    yield which() + b":" + (body or b"")


def failing_echo(site: Site) -> Handling:
    """As :func:`echo`, but on canary it answers 500 after having read the body."""
    body = yield READ
    if current("checkout").is_canary:
        yield Start(500)
        yield b"canary broke"
    else:
        yield Start()
        yield which() + b":" + (body or b"")


def killed_meanwhile(site: Site) -> Handling:
    """The kill is heard while the canary works."""
    if current("checkout").is_canary:
        site.log.append("canary ran")
        site.kill()
        site.log.append("killed")
    yield Start()
    yield which()


def killed_while_streaming(site: Site) -> Handling:
    """The kill is heard after the first chunk."""
    before = which()
    yield Start()
    yield before
    site.kill()
    yield which()


def killed_between_two_reads(site: Site) -> Handling:
    """The kill is heard after one rollout was read and before another one is."""
    body = which()
    if body == b"2":
        site.kill()
    other = current("search").version.encode()
    yield Start()
    yield body + other


def killed_one_by_one(site: Site) -> Handling:
    """One rollout is killed in the first run, another one in the second."""
    body = which() + current("search").version.encode()
    if body in (b"2b", b"1b"):
        site.kill("checkout" if body == b"2b" else "search")
    yield Start()
    yield body


def killed_before_it_is_read_again(site: Site) -> Handling:
    """As :func:`killed_one_by_one`, but the second run hears before it reads."""
    if site.log:
        site.kill("search")
    body = which() + current("search").version.encode()
    if not site.log:
        site.log.append("killed")
        site.kill()
    yield Start()
    yield body


def late(site: Site) -> Handling:
    """Asks for the version when the head is gone."""
    yield Start()
    yield which()


def background(site: Site) -> Handling:
    """Asks again after the end of the response."""
    yield Start(headers=(TEXT, ("x-version", which().decode())))
    yield b"done"
    yield END
    found = current("checkout")
    site.log.append(f"afterwards {found.version} {found.reason.value}")


def guarded(site: Site) -> Handling:
    """An application that catches every error of its own; our unwinding is none."""
    try:
        yield from killed_meanwhile(site)
    except Exception as error:
        site.log.append(f"the application saw {error!r}")
        raise


def killing_then_raising(site: Site) -> Handling:
    """The kill is heard, and then the canary fails."""
    yield from ()
    site.kill()
    raise BoomError
