"""What the shells do with cookies that people edit (S1 to S3), and what they set (S8)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from http.cookies import SimpleCookie
from typing import Any

import pytest

from canary_middleware import Cohort, Visitor
from canary_middleware.core.bucket import IDENTIFIED, draw, lane_key, threshold
from canary_middleware.core.cookie import MAX_AGE, Cookie, write
from canary_middleware.core.token import TokenCodec
from canary_middleware.core.weight import parse_weight
from tests.scenarios import apps
from tests.scenarios.facade import KEY
from tests.scenarios.rows_visitors import IDENTIFIED as BY_HEADER
from tests.scenarios.rows_visitors import SECRET
from tests.scenarios.site import NAME, Interface, Site
from tests.scenarios.words import Ask, Reply

every_interface = pytest.mark.parametrize(
    "interface", [Interface.ASGI, Interface.WSGI], ids=lambda interface: interface.value
)


def mutations(cookie: str, count: int) -> Iterator[str]:
    """Edits of a genuine cookie, none of which is genuine."""
    chance = random.Random(1)
    other = TokenCodec([KEY.encode()], "other", "visitor")
    wrong_kind = TokenCodec([KEY.encode()], "shop", "override")
    known = Cookie("visitor-00000000", 1_800_000_000)
    yield from (write(codec, known) for codec in (other, wrong_kind))
    yield from (
        "",
        ".",
        "...",
        "none",
        "null",
        "canary",
        "2",
        "1.5.0",
        '{"alg":"none"}',
        "a" * 8192,
    )
    yield from (cookie[:size] for size in range(len(cookie)))
    yield from (cookie + "=", cookie + ".", "." + cookie, cookie.upper(), cookie[::-1], cookie * 2)
    for _ in range(count):
        place = chance.randrange(len(cookie))
        flipped = ord(cookie[place]) ^ (1 << chance.randrange(8))
        # Separators and line ends cannot stand in a cookie at all: they would end it.
        if chr(flipped) not in '\r\n;, \t"\0':
            yield cookie[:place] + chr(flipped) + cookie[place + 1 :]


@pytest.mark.parametrize(("interface", "count"), [(Interface.ASGI, 2_000), (Interface.WSGI, 8_000)])
def test_no_edited_cookie_is_accepted_and_each_is_replaced(
    interface: Interface, count: int
) -> None:
    with Site(interface, apps.answer(), weight="99.999%") as site:
        genuine = site.cookie(Cohort.CANARY)
        issued = f"{NAME}="
        assert not site.ask(with_cookie(genuine)).all("set-cookie")
        tried = 0
        for value in mutations(genuine, count):
            reply = site.ask(with_cookie(value))
            assert (reply.status, reply.body, reply.error) == (200, b"x", None), value
            (line,) = reply.all("set-cookie")
            assert line.startswith(issued)
            assert "visitor-" not in line, f"accepted: {value}"
            tried += 1
    print(f"S1 {interface.value}: {tried} edited cookies, 0 accepted, 0 errors")


def with_cookie(value: str) -> Ask:
    return Ask(headers=[("cookie", f"{NAME}={value}")])


def test_a_codec_that_accepts_unsigned_cookies_would_be_seen() -> None:
    """The broken variant: it shares the key with whoever edits."""
    codec = TokenCodec([KEY.encode()], "shop", "visitor")
    forged = write(codec, Cookie("visitor-x", 1_800_000_000))
    with Site(Interface.WSGI, apps.answer(), weight="99.999%") as site:
        assert not site.ask(with_cookie(forged)).all("set-cookie")


@every_interface
@pytest.mark.parametrize("asked", ["2", "canary", "1.5.0"])
def test_nobody_names_a_version_and_gets_it(interface: Interface, asked: str) -> None:
    """S2: by cookie, header or query."""
    with Site(interface, apps.version, weight="0%") as site:
        headers = [
            ("cookie", f"{NAME}={asked}; canary={asked}; checkout={asked}"),
            ("x-canary", asked),
            ("x-canary-version", asked),
        ]
        assert site.ask(Ask(f"/checkout?canary={asked}", headers=headers)).body == b"1"


@every_interface
def test_somebody_elses_cookie_says_nothing_about_me(interface: Interface) -> None:
    """S3: a cookie that is bound to one user is ignored for another, who is drawn as such."""
    with Site(interface, apps.version, weight="50%", canary=BY_HEADER) as site:
        lane = lane_key(SECRET.encode(), "shop", "checkout", "2")
        limit = threshold(parse_weight("50%"))
        for cohort in Cohort:
            genuine = Cookie(site.subject(cohort), int(site.time))
            bound = genuine.bound(site.engine.visitors.binding(Visitor("adam")))
            value = write(TokenCodec([KEY.encode()], "shop", "visitor"), bound)
            for name in ("eve", "eva", "evi", "ewa", "ida", "ada"):
                own = b"2" if draw(lane, IDENTIFIED, name) < limit else b"1"
                ask = Ask(headers=[("cookie", f"{NAME}={value}"), ("x-user", name)])
                assert site.ask(ask).body == own
            mine = Ask(headers=[("cookie", f"{NAME}={value}"), ("x-user", "adam")])
            assert site.ask(mine).body == (b"2" if cohort is Cohort.CANARY else b"1")


def attributes(reply: Reply) -> tuple[str, str, dict[str, Any]]:
    (line,) = reply.all("set-cookie")
    parsed = SimpleCookie(line)
    ((name, morsel),) = parsed.items()
    return name, morsel.value, {key: value for key, value in morsel.items() if value != ""}


@every_interface
@pytest.mark.parametrize(
    ("secure", "name"),
    [(True, NAME), ("auto", NAME), (False, "canary-shop")],
)
def test_attributes_of_the_cookie(interface: Interface, secure: Any, name: str) -> None:
    """S8."""
    with Site(interface, apps.answer(), weight="50%", canary={"secure": secure}) as site:
        found, value, given = attributes(site.ask(Ask()))
    assert found == name
    assert len(value) <= 200
    assert int(given["max-age"]) == MAX_AGE == 90 * 24 * 3600
    expected = {"path": "/", "samesite": "Lax", "httponly": True, "max-age": str(MAX_AGE)}
    if secure:
        expected["secure"] = True
    assert given == expected, "no Domain, which __Host- forbids"


@every_interface
def test_auto_reads_the_plain_cookie_and_writes_the_secure_one(interface: Interface) -> None:
    with Site(interface, apps.version, weight="50%", canary={"secure": "auto"}) as site:
        plain = site.cookie(Cohort.CANARY, age=60)
        reply = site.ask(Ask(headers=[("cookie", f"canary-shop={plain}")]))
        assert reply.body == b"2"
        assert attributes(reply)[0] == NAME
        assert not site.ask(Ask(jar=True)).all("set-cookie")
