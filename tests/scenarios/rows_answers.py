"""Scenarios: shapes of answers, headers, scopes."""

from __future__ import annotations

from canary_middleware import Cohort
from tests.scenarios import apps
from tests.scenarios.apps import answer, hello, plain, version
from tests.scenarios.words import TEXT, Ask, Expect, Headers, Row

VARY = "Cookie"
DRAWN = "Cookie, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"
PRIVATE = "private, no-cache"
OURS = {"vary": VARY, "cache-control": PRIVATE}
UNTOUCHED = {"vary": None, "cache-control": None}

SHAPES = [
    Row("200", version, [(Ask(), Expect(headers=OURS))], {"canary 2xx": 1}),
    Row(
        "204",
        answer(204, (), ()),
        [(Ask(method="DELETE"), Expect(204, b"", OURS))],
        {"canary 2xx": 1},
    ),
    Row(
        "304 agrees with the 200",
        answer(304, (("etag", '"a"'),), ()),
        [(Ask(), Expect(304, b"", {**OURS, "etag": '"a"'}))],
        {"canary 3xx": 1},
    ),
    Row(
        "HEAD agrees with GET",
        answer(200, (TEXT, ("content-length", "5")), ()),
        [(Ask(method="HEAD"), Expect(200, b"", {**OURS, "content-length": "5"}))],
        {"canary 2xx": 1},
    ),
    Row("an empty body", answer(chunks=()), [(Ask(), Expect(body=b""))], {"canary 2xx": 1}),
    Row(
        "a redirect",
        answer(302, (("location", "/elsewhere"), TEXT), ()),
        [(Ask(), Expect(302, b"", {**OURS, "location": "/elsewhere"}))],
        {"canary 3xx": 1},
    ),
    Row(
        "an error of the client",
        answer(404, chunks=[b"no"]),
        [(Ask(), Expect(404, b"no", OURS))],
        {"canary 4xx": 1},
    ),
    Row(
        "chunk by chunk",
        answer(chunks=[b"a", b"b", b"c"]),
        [
            (
                Ask(),
                Expect(
                    body=b"abc",
                    arrivals=["made a", "got a", "made b", "got b", "made c", "got c"],
                ),
            )
        ],
        {"canary 2xx": 1},
    ),
    Row(
        "the stable side raises before the start",
        apps.answer_by_version(apps.raising, version),
        [(Ask(), Expect(0, b"", raises=apps.BoomError))],
        {"stable exception": 1},
        weight="0%",
    ),
    Row(
        "a lost connection to a database is a failure of the version",
        apps.refused,
        [(Ask(method="POST"), Expect(0, b"", raises=ConnectionRefusedError))],
        {"canary exception": 1},
    ),
    Row(
        "a time-out after the start, too",
        apps.timing_out,
        [(Ask(), Expect(200, b"", OURS, raises=TimeoutError))],
        {"canary exception": 1},
    ),
    Row(
        "raising after the start",
        apps.raising_after_start,
        [(Ask(), Expect(200, b"", OURS, raises=apps.BoomError))],
        {"canary exception": 1},
    ),
    Row(
        "raising in the middle of the body",
        apps.raising_in_the_middle,
        [(Ask(), Expect(200, b"half", OURS, raises=apps.BoomError))],
        {"canary exception": 1},
    ),
]


def edited(name: str, given: Headers, expected: dict[str, str | list[str] | None]) -> Row:
    """The application's headers and what a new visitor gets of them."""
    return Row(
        name,
        answer(headers=(TEXT, *given)),
        [(Ask(), Expect(body=b"x", headers=expected, issued=True))],
        {"canary 2xx": 1},
        weight="99.999%",
    )


def public(name: str, *given: tuple[str, str]) -> Row:
    """An answer that the application made public goes out exactly as it is, without a cookie."""
    as_given: dict[str, str | list[str] | None] = {"vary": None, **dict(given)}
    return Row(
        name,
        answer(headers=(TEXT, *given)),
        [(Ask(who=Cohort.CANARY), Expect(body=b"x", headers=as_given))],
        {"canary 2xx": 1},
        {"public_response": 1},
    )


HEADERS = [
    edited("no headers of its own", (), {"vary": DRAWN, "cache-control": PRIVATE}),
    edited(
        "Vary is appended",
        (("vary", "Accept-Encoding"),),
        {"vary": f"Accept-Encoding, {DRAWN}"},
    ),
    edited(
        "Vary is not doubled",
        (("vary", "cookie, sec-fetch-site"),),
        {"vary": DRAWN},
    ),
    edited(
        "two Vary lines become one",
        (("vary", "Accept"), ("vary", "Origin")),
        {"vary": f"Accept, Origin, {DRAWN}"},
    ),
    edited("Vary: * stays", (("vary", "*"),), {"vary": "*"}),
    edited("no-store stays", (("cache-control", "no-store"),), {"cache-control": "no-store"}),
    edited(
        "a lifetime is taken away",
        (("cache-control", "private, max-age=60"),),
        {"cache-control": PRIVATE},
    ),
    edited(
        "other directives stay",
        (("cache-control", "max-age=60, must-revalidate"),),
        {"cache-control": f"{PRIVATE}, must-revalidate"},
    ),
    public("public", ("cache-control", "public, max-age=60")),
    public("immutable", ("cache-control", "max-age=60, immutable")),
    public("s-maxage", ("cache-control", "s-maxage=60")),
    public("a targeted header", ("cdn-cache-control", "max-age=60")),
    Row(
        "cookies of the application stay, in order",
        answer(headers=(TEXT, ("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2"))),
        [(Ask(), Expect(body=b"x", headers={"set-cookie": ["a=1; Path=/", "b=2"]}))],
        {"canary 2xx": 1},
    ),
]

UNEXPOSED = [
    Row(name, app, [(ask, Expect(status, body, {}, issued=None, raises=raises))])
    for name, app, ask, status, body, raises in [
        ("unexposed", hello, Ask(), 200, b"hello", None),
        ("unexposed 204", plain(204, (), ()), Ask(), 204, b"", None),
        ("unexposed stream", plain(chunks=[b"a", b"", b"b"]), Ask(), 200, b"ab", None),
        ("unexposed redirect", plain(302, (TEXT, ("location", "/")), ()), Ask(), 302, b"", None),
        (
            "unexposed headers",
            plain(headers=(TEXT, ("vary", "A"), ("set-cookie", "a=1"), ("vary", "B"))),
            Ask(),
            200,
            b"x",
            None,
        ),
        ("unexposed failure", apps.raising, Ask(), 0, b"", apps.BoomError),
        ("unexposed 500", plain(500), Ask(), 500, b"x", None),
        ("unexposed POST", plain(chunks=[b"ok"]), Ask(method="POST", body=b"b"), 200, b"ok", None),
    ]
]


def scope(name: str, ask: Ask, *, inside: bool, rollout: dict[str, object] | None = None) -> Row:
    """Whether a request belongs to the rollout ``/checkout``."""
    expect = Expect(body=b"2", headers=OURS) if inside else Expect(body=b"", headers=UNTOUCHED)
    return Row(
        f"scope: {name}",
        version,
        [(ask, expect)],
        {"canary 2xx": 1} if inside else {},
        rollout={"paths": ["/checkout"], **(rollout or {})},
    )


def excluded(name: str, ask: Ask) -> Row:
    """A request that no rollout covers although another path of this one might."""
    return scope(name, ask, inside=False)


SCOPES = [
    scope("the path itself", Ask("/checkout"), inside=True),
    scope("below it", Ask("/checkout/pay?x=1"), inside=True),
    scope("a trailing slash", Ask("/checkout/"), inside=True),
    excluded("whole segments only", Ask("/checkout-old")),
    excluded("another path", Ask("/")),
    scope("a method in scope", Ask(method="PUT"), inside=True, rollout={"methods": ["PUT"]}),
    scope("a method out of scope", Ask(), inside=False, rollout={"methods": ["PUT"]}),
    scope(
        "an excluded path",
        Ask("/checkout/static/a.js"),
        inside=False,
        rollout={"exclude": ["/checkout/static"]},
    ),
    scope(
        "health paths, by default",
        Ask("/healthz"),
        inside=False,
        rollout={"paths": ["/"]},
    ),
    scope("mounted", Ask("/checkout", mount="/shop"), inside=True),
    scope("mounted below a name that starts alike", Ask("/checkout", mount="/check"), inside=True),
    excluded("the mount is no part of the path", Ask("/pay", mount="/checkout")),
    scope("percent-encoded", Ask("/check%6Fut/pay"), inside=True),
    excluded("decoded once only", Ask("/check%256Fut")),
    scope("an encoded slash is one", Ask("/checkout%2Fpay"), inside=True),
    scope(
        "not ASCII",
        Ask("/b%C3%BCcher/neu"),
        inside=True,
        rollout={"paths": ["/bücher"]},
    ),
    excluded("not even UTF-8", Ask("/checkout%ff")),
    scope("not UTF-8 below", Ask("/checkout/%ff"), inside=True),
]

ROWS = [*SHAPES, *HEADERS, *UNEXPOSED, *SCOPES]
