from __future__ import annotations

from typing import Any
from urllib.request import parse_http_list

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.headers import TARGETED, asgi_rules, wsgi_rules

RULES = wsgi_rules()
BYTES = asgi_rules()
VARY = RULES.vary_line(["Cookie"])

Lines = list[tuple[str, str]]

PLAIN: Lines = [("Content-Type", "text/html"), ("X-A", "1"), ("ETag", '"x"'), ("X-A", "2")]


def edit(headers: Lines, cookie: str | None = None, *, no_store: bool = False) -> Lines | None:
    return RULES.edit(headers, VARY, cookie, no_store=no_store)


def values(lines: Lines | None, name: str) -> list[str]:
    assert lines is not None
    return [value for key, value in lines if key.lower() == name]


# --- both string types ----------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["Vary", "vary", "VARY", "Cache-Control", "cache-control", "X-Accel-Expires", "Set-Cookie",
     "Content-Type", "Expires", "x"]
)  # fmt: skip
DIRECTIVES = st.sampled_from(
    ["public", "private", "no-cache", "no-store", "max-age=60", "s-maxage=9", "immutable",
     "Cookie", "*", "must-revalidate", 'private="set-cookie, etag"', 'a="', '"', ",", ", ", " ",
     "", "\u00e9", "Accept"]
)  # fmt: skip
LINES = st.lists(st.tuples(NAMES, st.lists(DIRECTIVES).map(", ".join)), max_size=6)


@given(LINES, st.none() | st.just("c=v"), st.booleans())
def test_both_string_types_give_the_same(lines: Lines, cookie: str | None, no_store: bool) -> None:
    data = [(key.encode("latin-1"), value.encode("latin-1")) for key, value in lines]
    given_cookie = cookie.encode() if cookie else None
    texts = edit(lines, cookie, no_store=no_store)
    raw = BYTES.edit(data, BYTES.vary_line(["Cookie"]), given_cookie, no_store=no_store)
    assert (texts is None) is (raw is None)
    decoded = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in raw or ()]
    ours = {"vary", "cache-control", "set-cookie"}
    lowered = [(key.lower() if key.lower() in ours else key, value) for key, value in texts or ()]
    same = [(key.lower() if key.lower() in ours else key, value) for key, value in decoded]
    assert lowered == same


@given(LINES, st.none() | st.just("c=v"), st.booleans())
def test_what_holds_for_every_answer(lines: Lines, cookie: str | None, no_store: bool) -> None:
    before = list(lines)
    edited = edit(lines, cookie, no_store=no_store)
    assert lines == before, "the application's own list is not changed"
    if edited is None:
        assert not no_store
        return
    ours = {"vary", "cache-control"} | (TARGETED if no_store else set())
    kept = [line for line in lines if line[0].lower() not in ours]
    assert edited[: len(kept)] == kept, "everything else keeps its place"
    assert values(edited, "set-cookie")[len(values(lines, "set-cookie")) :] == (
        [cookie] if cookie else []
    )
    (vary,) = values(edited, "vary")
    names = [name.strip().lower() for name in vary.split(",")]
    assert "cookie" in names or names == ["*"]
    (control,) = values(edited, "cache-control")
    assert control.startswith("private, no-cache") or "no-store" in control
    said = {item.partition("=")[0].strip().lower() for item in parse_http_list(control)}
    assert said.isdisjoint({"public", "s-maxage", "immutable"})


def test_asgi_names_are_lower_case_and_wsgi_names_are_as_people_write_them() -> None:
    assert BYTES.edit([], b"Cookie", b"c=v") == [
        (b"cache-control", b"private, no-cache"), (b"vary", b"Cookie"), (b"set-cookie", b"c=v"),
    ]  # fmt: skip
    assert edit([], "c=v") == [
        ("Cache-Control", "private, no-cache"), ("Vary", "Cookie"), ("Set-Cookie", "c=v"),
    ]  # fmt: skip


def test_raw_bytes_of_a_header_pass_untouched() -> None:
    lines = [(b"x-raw", bytes(range(128, 256))), (b"vary", b"\xff, Accept")]
    edited = BYTES.edit(lines, b"Cookie")
    assert edited is not None
    assert edited[0] == lines[0]
    assert edited[-1] == (b"vary", b"\xff, Accept, Cookie")


def test_the_iterable_may_be_a_generator_and_its_lines_lists() -> None:
    lines: Any = ([b"x", b"1"] for _ in range(1))
    edited = BYTES.edit(lines, b"Cookie")
    assert edited is not None
    assert list(edited[0]) == [b"x", b"1"]


# --- Vary -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours", "vary"),
    [
        ([], ["Cookie"], "Cookie"),
        (["Accept"], ["Cookie"], "Accept, Cookie"),
        (["Cookie"], ["Cookie"], "Cookie"),
        (["Accept, Cookie, X"], ["Cookie"], "Accept, Cookie, X"),
        (["Accept", "X"], ["Cookie"], "Accept, X, Cookie"),
        (["Cookie", "Cookie"], ["Cookie"], "Cookie"),
        (["Accept,,  X ,"], ["Cookie"], "Accept, X, Cookie"),
        ([""], ["Cookie"], "Cookie"),
        (["*"], ["Cookie"], "*"),
        (["Accept", "*"], ["Cookie"], "*"),
        (["Accept"], ["Cookie", "Accept", "X"], "Accept, Cookie, X"),
        ([], ["Cookie", "Cookie"], "Cookie"),
        (["Accept-Encoding"], ["Accept"], "Accept-Encoding, Accept"),
    ],
)
def test_vary_is_appended_and_never_doubled(theirs: list[str], ours: list[str], vary: str) -> None:
    edited = RULES.edit([("Vary", line) for line in theirs], RULES.vary_line(ours))
    assert values(edited, "vary") == [vary]


def test_names_in_vary_are_the_same_in_every_spelling() -> None:
    """Identify may ask the view for "cookie", which the answer varies on already."""
    assert RULES.vary_line(["Cookie", "cookie", "COOKIE", "X"]).lower() == "cookie, x"
    edited = RULES.edit([("vary", "COOKIE")], RULES.vary_line(["Cookie"]))
    assert [vary.lower() for vary in values(edited, "vary")] == ["cookie"]


# --- Cache-Control --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "control"),
    [
        ([], "private, no-cache"),
        ([""], "private, no-cache"),
        (["max-age=60"], "private, no-cache"),
        (["private, max-age=60"], "private, no-cache"),
        (["PRIVATE, Max-Age=60"], "private, no-cache"),
        (["no-cache"], "private, no-cache"),
        (["max-age=60, must-revalidate"], "private, no-cache, must-revalidate"),
        (["must-revalidate", "no-transform"], "private, no-cache, must-revalidate, no-transform"),
        (["max-age=60, stale-while-revalidate=9, stale-if-error=9"], "private, no-cache"),
        (["no-store"], "no-store"),
        (["No-Store, max-age=0"], "No-Store, max-age=0"),
        (["max-age=60", "no-store"], "max-age=60, no-store"),
        (['private="set-cookie, etag", must-revalidate'], "private, no-cache, must-revalidate"),
        (['no-cache="set-cookie"'], "private, no-cache"),
        (['ext="a, public, b"'], 'private, no-cache, ext="a, public, b"'),
        ([r'ext="a\", public"'], r'private, no-cache, ext="a\", public"'),
        (["publicity=1, unimmutable"], "private, no-cache, publicity=1, unimmutable"),
    ],
)
def test_cache_control_becomes_private_unless_it_is_stricter(
    theirs: list[str], control: str
) -> None:
    edited = edit([("Cache-Control", line) for line in theirs], "c=v")
    assert values(edited, "cache-control") == [control]
    assert values(edited, "set-cookie") == ["c=v"]


PUBLIC: list[Lines] = [
    [("Cache-Control", "public")],
    [("Cache-Control", "public, max-age=60")],
    [("cache-control", "max-age=60, PUBLIC")],
    [("Cache-Control", "max-age=60"), ("Cache-Control", "public")],
    [("Cache-Control", "immutable")],
    [("Cache-Control", "max-age=31536000,immutable")],
    [("Cache-Control", "s-maxage=60")],
    [("Cache-Control", "s-maxage = 60")],
    [("Cache-Control", "public, no-store")],
    [("Cache-Control", 'public, ext="')],
    [("Cache-Control", 'a="'), ("Cache-Control", 'a=", public')],
    [("CDN-Cache-Control", "max-age=60")],
    [("Cloudflare-CDN-Cache-Control", "max-age=60")],
    [("CDN-Cache-Control", "max-age=0, stale-while-revalidate=60")],
    [("CDN-Cache-Control", 'private="set-cookie"')],
    [("Surrogate-Control", "max-age=60")],
    [("Edge-Control", "!no-store, max-age=60")],
    [("X-Accel-Expires", "60")],
    [("Cache-Control", "no-store"), ("x-accel-expires", "60")],
]


@pytest.mark.parametrize("public", PUBLIC)
def test_a_public_answer_is_refused(public: Lines) -> None:
    """S13: one version, or our cookie, would be kept for everybody."""
    assert edit([*PLAIN, *public], "c=v") is None


FORBIDDEN: list[tuple[str, str]] = [
    ("CDN-Cache-Control", "no-store"),
    ("CDN-Cache-Control", "max-age=60, Private"),
    ("Surrogate-Control", "no-cache"),
    ("CDN-Cache-Control", "max-age = 0"),
    ("X-Accel-Expires", "0"),
]


@pytest.mark.parametrize("line", FORBIDDEN)
def test_a_targeted_header_that_forbids_to_keep_it_stays_beside_ours(line: tuple[str, str]) -> None:
    edited = edit([*PLAIN, line], "c=v")
    assert edited is not None
    assert edited[: len(PLAIN) + 1] == [*PLAIN, line]
    assert values(edited, "set-cookie") == ["c=v"]
    assert values(edited, "cache-control") == ["private, no-cache"]


@pytest.mark.parametrize("public", [[], [("Cache-Control", "max-age=9")], *PUBLIC])
def test_a_rescued_answer_is_stored_by_nobody_whatever_the_application_said(public: Lines) -> None:
    edited = edit([*PLAIN, *public, ("Vary", "Accept")], no_store=True)
    assert edited == [*PLAIN, ("Cache-Control", "no-store"), ("Vary", "Accept, Cookie")]


def test_a_hostile_cache_control_is_read_in_reasonable_time() -> None:
    """Quotes without end once made such patterns exponential."""
    line = '"' * 20_000 + "\\" * 20_000 + ',"' * 20_000
    edited = edit([("Cache-Control", line)])
    assert values(edited, "cache-control")[0].startswith("private, no-cache")
