from __future__ import annotations

import gc
from typing import Any

import pytest

from canary_middleware.core.cookie import MAX_AGE, Cookie, CookieFormat, new_cookie, write
from canary_middleware.core.model import Visitor
from canary_middleware.core.token import TokenCodec
from canary_middleware.engine.identity import CACHE_SIZE, Known, Visitors, as_visitor
from canary_middleware.engine.recorder import Recorder
from tests.engine.world import NEW, OLD, Numbers, Time, pair, value

NOW = 1_800_000_000.0
DAY = 24 * 3600


class Process:
    """One worker's reader and writer of cookies, with its own clock."""

    def __init__(self, *keys: bytes, wall: float = NOW, **form: Any) -> None:
        self.time = Time(wall=wall)
        self.recorder = Recorder()
        self.visitors = Visitors(
            keys or (NEW,),
            CookieFormat("shop", **form),
            b"b" * 32,
            lambda: self.time.wall,
            Numbers(),
            lambda: self.recorder,
        )

    def issue(self) -> bytes:
        """A Cookie header of a new visitor."""
        return pair(self.visitors.line(self.visitors.draw().cookie)).encode()

    def know(self, header: bytes) -> Known:
        known = self.visitors.known(header)
        assert known is not None
        return known

    def reissue(self, known: Known) -> bytes:
        return pair(self.visitors.line(known.cookie)).encode()


# --- the ordinary way -----------------------------------------------------------------------------


def test_a_drawn_visitor_comes_back() -> None:
    process = Process()
    drawn = process.visitors.draw()
    assert drawn.reissue
    header = pair(process.visitors.line(drawn.cookie)).encode()
    known = process.know(b"a=1; " + header + b"; b=2")
    assert known.cookie == drawn.cookie
    assert known.drawn == drawn.drawn
    assert not known.reissue
    assert process.know(header) is known, "remembered by its exact bytes"


def test_every_draw_is_another_visitor() -> None:
    process = Process()
    assert len({process.visitors.draw().cookie.id for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("header", "event"),
    [
        (b"", None),
        (b"a=1; b=2", None),
        (b"__Host-canary-shop=forged.forged", "cookie_forged"),
        (b"__Host-canary-shop=forged", "cookie_malformed"),
        (b"__Host-canary-shop=" + b"x" * 8192, "cookie_oversized"),
        (b"__Host-canary-shop=a.b; __Host-canary-shop=a.b", "cookie_duplicated"),
        (b"__Host-canary-shop=\xff\xfe.\xff", "cookie_malformed"),
        (b"__Host-canary-shop=\0.\0", "cookie_forged"),
        (b"canary-shop=a.b", None),
    ],
)
def test_what_is_not_ours_is_nobody_and_is_counted(header: bytes, event: str | None) -> None:
    process = Process()
    assert process.visitors.known(header) is None
    assert dict(process.recorder.events) == ({event: 1} if event else {})


def test_a_genuine_cookie_that_stands_there_twice_is_ignored() -> None:
    process = Process()
    header = process.issue()
    assert process.visitors.known(header + b"; " + header) is None


def test_forgeries_never_reach_the_cache() -> None:
    process = Process()
    genuine = process.issue()
    process.know(genuine)
    for number in range(2 * CACHE_SIZE):
        process.visitors.known(b"__Host-canary-shop=forged." + str(number).encode())
    known = process.know(genuine)
    assert known is process.know(genuine)
    assert process.recorder.events["cookie_forged"] == 2 * CACHE_SIZE


# --- W4: clocks that differ -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("skew", "again"),
    [(0, False), (30, False), (60, False), (-60, False), (61, True), (600, True), (-600, False),
     (3600, True), (-3600, False)],
)  # fmt: skip
def test_skew_never_turns_a_visitor_into_another(skew: float, again: bool) -> None:
    """The issuing worker's clock is ``skew`` ahead; a cookie from the future is written again."""
    issuer, reader = Process(wall=NOW + skew), Process(wall=NOW)
    header = issuer.issue()
    known = reader.know(header)
    assert known.cookie.id == issuer.know(header).cookie.id
    assert known.reissue is again
    repaired = reader.reissue(known)
    for process in (issuer, reader):
        assert process.know(repaired).cookie.id == known.cookie.id
    assert not reader.know(repaired).reissue, "once is enough"
    assert not issuer.know(repaired).reissue or skew < -60


def test_workers_of_different_clocks_do_not_quarrel_about_a_cookie() -> None:
    """Ten minutes apart: each writes its own time at most once per half life, never in turns."""
    ahead, behind = Process(wall=NOW + 600), Process(wall=NOW)
    header = ahead.issue()
    written = 0
    for request in range(100):
        process = (behind, ahead)[request % 2]
        known = process.know(header)
        if known.reissue:
            written += 1
            header = process.reissue(known)
    assert written == 1


def test_a_clock_that_steps_back_keeps_the_visitor() -> None:
    process = Process()
    header = process.issue()
    first = process.know(header)
    for step in (-1, -600, -3600, -DAY):
        process.time.wall = NOW + step
        assert process.know(header).cookie.id == first.cookie.id


# --- life -----------------------------------------------------------------------------------------


def test_it_is_written_again_when_half_of_its_life_is_gone() -> None:
    process = Process()
    header = process.issue()
    assert not process.know(header).reissue
    process.time.wall = NOW + MAX_AGE / 2 + 1
    assert process.know(header).reissue, "although it was remembered as fresh"
    renewed = process.reissue(process.know(header))
    assert not process.know(renewed).reissue
    assert process.know(renewed).cookie.id == process.know(header).cookie.id


def test_expiry_is_checked_on_every_hit() -> None:
    process = Process()
    header = process.issue()
    for age in (0, MAX_AGE / 2 + 5, MAX_AGE - 1):
        process.time.wall = NOW + age
        assert process.visitors.known(header) is not None
    process.time.wall = NOW + MAX_AGE + 1
    assert process.visitors.known(header) is None
    assert process.recorder.events["cookie_expired"] == 1


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    process = Process()
    codec = TokenCodec([NEW], "shop", "visitor")
    random = Numbers()
    headers = [
        b"__Host-canary-shop=" + write(codec, new_cookie(random, NOW)).encode()
        for _ in range(CACHE_SIZE + 10)
    ]
    known = [process.know(header) for header in headers]
    assert process.know(headers[-1]) is known[-1]
    assert process.know(headers[10]) is known[10]
    assert process.know(headers[9]) is not known[9], "forgotten, and verified anew"
    assert process.know(headers[9]).cookie == known[9].cookie


# --- W8: rotation ---------------------------------------------------------------------------------


def test_rotation_keeps_every_visitor() -> None:
    before, during, after = Process(OLD), Process(OLD, NEW), Process(NEW)
    header = before.issue()
    known = during.know(header)
    assert known.reissue
    renewed = during.reissue(known)
    assert renewed != header
    for process in (during, after):
        assert process.know(renewed).cookie.id == known.cookie.id
        assert not process.know(renewed).reissue
    assert after.visitors.known(header) is None, "an old key that was removed makes it absent"
    assert after.recorder.events["cookie_forged"] == 1


def test_a_worker_not_yet_rotated_ignores_the_new_cookie_without_an_error() -> None:
    before, during = Process(OLD), Process(OLD, NEW)
    header = during.issue()
    assert before.visitors.known(header) is None


# --- names ----------------------------------------------------------------------------------------


def test_auto_reads_both_names_and_moves_visitors_to_the_host_name() -> None:
    plain, auto, strict = Process(secure=False), Process(secure="auto"), Process(secure=True)
    header = plain.issue()
    assert header.startswith(b"canary-shop=")
    auto.time.wall += 1
    known = auto.know(header)
    assert known.reissue
    moved = auto.reissue(known)
    assert moved.startswith(b"__Host-canary-shop=")
    assert strict.know(moved).cookie.id == known.cookie.id
    assert strict.visitors.known(header) is None
    assert not auto.know(moved).reissue


def test_auto_prefers_the_host_name_and_falls_back_when_it_is_forged() -> None:
    plain, auto = Process(secure=False), Process(secure="auto")
    one, two = auto.issue(), plain.issue()
    both = two + b"; " + one
    assert auto.know(both).cookie == auto.know(one).cookie
    forged = b"__Host-canary-shop=a.b; " + two
    assert auto.know(forged).cookie == auto.know(two).cookie


# --- sections of later versions -------------------------------------------------------------------


def test_sections_of_another_version_survive_a_reissue() -> None:
    process = Process()
    codec = TokenCodec([NEW], "shop", "visitor")
    strange = Cookie("A" * 16, int(NOW - MAX_AGE * 0.6), ("x9", "q"))
    known = process.know(b"__Host-canary-shop=" + write(codec, strange).encode())
    assert known.reissue
    renewed = process.know(process.reissue(known))
    assert renewed.cookie == Cookie(strange.id, int(NOW), strange.sections)


def test_bindings_are_keyed_and_opaque() -> None:
    process = Process()
    binding = process.visitors.binding(Visitor("alice@example.com"))
    line = process.visitors.line(process.visitors.draw().cookie.bound(binding))
    assert "alice" not in line
    assert value(line).split(b".")[3] == b"b" + binding.encode()
    assert process.visitors.binding(Visitor("bob")) != binding


def test_a_coroutine_is_no_visitor_and_leaves_no_warning_behind() -> None:
    async def later() -> str:
        return "alice"

    with pytest.raises(TypeError, match="async def"):
        as_visitor(later())
    gc.collect()
