from __future__ import annotations

from contextlib import suppress
from http.cookies import SimpleCookie

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from canary_middleware.core.cookie import (
    LONGEST,
    MAX_AGE,
    MAX_PINS,
    SKEW,
    Cookie,
    CookieFormat,
    Secure,
    binding_of,
    find,
    new_cookie,
    pin_tag,
    read,
    write,
)
from canary_middleware.core.model import Cohort
from canary_middleware.core.pins import Pin
from canary_middleware.core.throw import Sight
from canary_middleware.core.token import TokenCodec, Verified
from canary_middleware.errors import TokenError

CODEC = TokenCodec([b"k" * 32], "shop", "visitor")
NOW = 1_800_000_000.75
NAME = b"__Host-canary-shop="


def verified(*fields: str) -> Verified:
    return CODEC.verify(CODEC.sign(fields).encode())


def refusal(*fields: str, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        read(verified(*fields), now)
    return caught.value.why


# --- content --------------------------------------------------------------------------------------

IDS = st.binary(min_size=12, max_size=12).map(lambda data: new_cookie(lambda _: data, NOW).id)
SECTIONS = st.lists(st.from_regex(r"[a-z][A-Za-z0-9_-]{0,20}", fullmatch=True), max_size=5)


@given(IDS, st.integers(int(NOW) - MAX_AGE + 1, int(NOW) + 10**6), SECTIONS)
def test_what_is_written_is_read(visitor: str, issued: int, sections: list[str]) -> None:
    cookie = Cookie(visitor, issued, tuple(sections))
    assert read(CODEC.verify(write(CODEC, cookie).encode()), NOW) == cookie


def test_a_new_cookie_holds_96_random_bits_and_whole_seconds() -> None:
    asked: list[int] = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes(range(size))

    assert new_cookie(random, NOW) == Cookie("AAECAwQFBgcICQoL", int(NOW))
    assert asked == [12]


def test_its_length_is_what_the_documentation_says() -> None:
    cookie = new_cookie(bytes, NOW)
    assert len(write(CODEC, cookie)) == 69
    assert len(write(CODEC, cookie.bound(binding_of(b"k" * 32, "alice")))) == 82


@given(IDS, st.integers(0, 36**7 - 1), st.text(max_size=50))
def test_it_stays_under_200_bytes(visitor: str, issued: int, subject: str) -> None:
    cookie = Cookie(visitor, issued)
    assert len(write(CODEC, cookie)) <= 70
    bound = write(CODEC, cookie.bound(binding_of(b"k" * 32, subject)))
    assert len(bound) <= 83
    assert len(CookieFormat("shop").header(bound)) < 200
    assert len(f"__Host-canary-{'n' * 64}={bound}") <= 200


@pytest.mark.parametrize(
    "fields",
    [
        ["1"], ["1", "id"], ["2", "id", "t5n3k0"], ["", "id", "t5n3k0"], ["1", "", "t5n3k0"],
        ["1", "id", ""], ["1", "id", "t5n3k0", ""], ["1", "id", "t5n3k0", "bx", ""],
        ["1", "id", "-5"], ["1", "id", "+5"], ["1", "id", " 5"], ["1", "id", "5 "],
        ["1", "id", "1_0"],
        ["1", "id", "T5N3K0"], ["1", "id", "5e3!"], ["1", "id", "z" * 9],
        ["1", "id", "z" * 300], ["1", "id", "\n5"], ["1", "id", "5\n"],
    ],
)  # fmt: skip
def test_odd_fields_under_a_genuine_signature_are_malformed(fields: list[str]) -> None:
    assert refusal(*fields) == "malformed"


@given(
    st.lists(
        st.text(st.characters(max_codepoint=127, exclude_characters="."), max_size=20), min_size=1
    ),
    st.floats(0, 1e11),
)
def test_no_genuine_fields_raise_anything_but_token_error(fields: list[str], now: float) -> None:
    with suppress(TokenError):
        cookie = read(verified(*["1", *fields]), now)
        assert cookie.issued >= 0
        assert cookie.due(now) in (True, False)
        assert cookie.bound("x").binding == "x"


def test_it_expires_after_its_age_and_not_before() -> None:
    issued = Cookie("id", 1_000)
    fields = CODEC.verify(write(CODEC, issued).encode())
    assert read(fields, 1_000 + MAX_AGE) == issued
    with pytest.raises(TokenError, match="expired"):
        read(fields, 1_000 + MAX_AGE + 1)


@pytest.mark.parametrize(
    ("age", "due"),
    [
        (0, False), (MAX_AGE / 2, False), (MAX_AGE / 2 + 1, True), (MAX_AGE, True),
        (-SKEW, False), (-SKEW - 1, True), (-600, True), (-3600, True),
    ],
)  # fmt: skip
def test_it_is_due_past_half_its_life_or_from_the_future(age: float, due: bool) -> None:
    """W4: a minute of skew is normal; more is repaired by issuing it again."""
    assert Cookie("id", 10**9).due(10**9 + age) is due


def test_a_clock_before_1970_still_writes_something() -> None:
    assert CODEC.verify(write(CODEC, Cookie("id", -5)).encode()).fields == ["1", "id", "0"]


# --- binding --------------------------------------------------------------------------------------


def test_binding_tells_users_apart_and_reveals_none() -> None:
    key = bytes(range(32))
    assert binding_of(key, "alice@example.com") == "5ABjrD2I3yo"
    assert binding_of(key, "bob@example.com") != "5ABjrD2I3yo"
    assert binding_of(key[::-1], "alice@example.com") != "5ABjrD2I3yo"
    assert len({binding_of(key, str(number)) for number in range(10_000)}) == 10_000


def test_binding_replaces_a_binding_and_keeps_unknown_sections() -> None:
    cookie = Cookie("id", 5, ("x1", "bAlice", "y"))
    assert cookie.binding == "Alice"
    assert cookie.bound("Bob") == Cookie("id", 5, ("x1", "y", "bBob"))
    assert Cookie("id", 5, ("x1", "y")).binding == ""


# --- the Set-Cookie line --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secure", "name", "flagged", "names"),
    [
        (True, "__Host-canary-shop", True, [b"__Host-canary-shop="]),
        (False, "canary-shop", False, [b"canary-shop="]),
        ("auto", "__Host-canary-shop", True, [b"__Host-canary-shop=", b"canary-shop="]),
    ],
)
def test_attributes(secure: Secure, name: str, flagged: bool, names: list[bytes]) -> None:
    """S8, by a parser that is not ours."""
    form = CookieFormat("shop", secure)
    assert list(form.names) == names
    parsed: SimpleCookie = SimpleCookie(form.header("value"))
    assert list(parsed) == [name]
    morsel = parsed[name]
    assert morsel.value == "value"
    assert morsel["path"] == "/"
    assert morsel["samesite"] == "Lax"
    assert morsel["httponly"] is True
    assert bool(morsel["secure"]) is flagged
    assert morsel["max-age"] == str(90 * 24 * 3600)
    assert not morsel["domain"], "__Host- forbids it (RFC 6265bis)"


# --- finding it -----------------------------------------------------------------------------------


def reference(header: bytes, name: bytes) -> bytes | None:
    """RFC 6265 section 5.4 backwards: pairs between semicolons, blanks around them dropped."""
    pairs = [pair.strip() for pair in header.split(b";")]
    values = [pair[len(name) :].strip() for pair in pairs if pair.startswith(name)]
    if not values:
        return None
    return values[0] if len(values) == 1 else b""


PIECES = st.sampled_from(
    [
        NAME, b"; " + NAME, NAME + b" v ", b"canary-shop=", b"x__Host-canary-shop=",
        b"__Host-canary-shop2=", b"__Host-canary",
        b"; ", b"; ", b";", b" ", b"\t", b'"', b"=", b",", b"a", b"value", b"a=b", b"\xff", b"\0",
        b'quoted="x; y"', b"other=__Host-canary-shop=z", b"other=v __Host-canary-shop=z",
    ]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12).map(b"".join))
@example(b"a=b __Host-canary-shop=x")
@example(b"a=b __Host-canary-shop=x; __Host-canary-shop=y")
@example(b" __Host-canary-shop=x")
@example(b";__Host-canary-shop= x ")
@example(b"__Host-canary-shop=")
@example(b"__Host-canary-shop=__Host-canary-shop=x")
def test_finding_agrees_with_a_simple_parser(header: bytes) -> None:
    assert find(header, NAME) == reference(header, NAME)


@given(st.binary(max_size=200))
def test_finding_survives_any_bytes(header: bytes) -> None:
    assert find(header, b"a=") == reference(header, b"a=")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (b"", None),
        (b"__Host-canary-shop=v", b"v"),
        (b"a=1; __Host-canary-shop=v; b=2", b"v"),
        (b"a=1;__Host-canary-shop=v;b=2", b"v"),
        (b"a=1;  __Host-canary-shop= v ; b=2", b"v"),
        (b"__Host-canary-shop=v=w", b"v=w"),
        (b"__Host-canary-shop=", b""),
        (b"__Host-canary-shop", None),
        (b"x__Host-canary-shop=v", None),
        (b"my-__Host-canary-shop=v; __Host-canary-shop=w", b"w"),
        (b"a=__Host-canary-shop=v", None),
        (b'a="__Host-canary-shop=v"', None),
        (b'a="b __Host-canary-shop=v"', None),
        (b"__host-canary-shop=v", None),
        (b'__Host-canary-shop="v"', b'"v"'),
        (b"__Host-canary-shop=v; __Host-canary-shop=w", b""),
        (b"__Host-canary-shop=v; __Host-canary-shop=v", b""),
        (b"__Host-canary-shopping=v", None),
    ],
)
def test_finding(header: bytes, value: bytes | None) -> None:
    assert find(header, NAME) == value


def test_the_plain_name_is_not_found_inside_the_host_name() -> None:
    assert find(b"__Host-canary-shop=v", b"canary-shop=") is None
    assert find(b"__Host-canary-shop=v; canary-shop=w", b"canary-shop=") == b"w"


def test_a_pin_goes_before_what_was_measured() -> None:
    """A pin is what a visitor was promised; evidence of other rollouts must not push it out."""
    cookie = Cookie("v" * 16, 1_800_000_000)
    tags = [pin_tag(b"k" * 32, f"rollout{number}", "lineage", 5) for number in range(8)]
    for tag in tags:
        cookie = cookie.sighted(tag, Sight(44, 900, 50_000, 75_000, 4095)) or cookie
    before = sum(cookie.sight(tag) is not None for tag in tags)
    for tag in tags[:MAX_PINS]:
        cookie = cookie.pinned(tag, Pin(Cohort.CANARY, 44, 1_800_000_000))
    assert all(cookie.pin(tag) is not None for tag in tags[:MAX_PINS])
    assert 0 < sum(cookie.sight(tag) is not None for tag in tags) < before
    assert sum(1 + len(section) for section in cookie.sections) <= LONGEST
