"""Scenarios: whose request it is. Cookies, Fetch Metadata, rotation, audiences, identify."""

from __future__ import annotations

from typing import Any

from canary_middleware import Audience, Cohort, Visitor
from canary_middleware.core.bucket import IDENTIFIED as IDENTIFIED_BY
from canary_middleware.core.bucket import draw, lane_key, threshold
from canary_middleware.core.cookie import MAX_AGE
from canary_middleware.core.state import Verb
from canary_middleware.engine.views import RequestView
from tests.scenarios import apps
from tests.scenarios.apps import hello, version
from tests.scenarios.facade import KEY
from tests.scenarios.rows_answers import DRAWN, OURS, PRIVATE
from tests.scenarios.site import NAME, OLD_KEY, Site
from tests.scenarios.words import Ask, Expect, Headers, Row

STABLE, CANARY = Cohort.STABLE, Cohort.CANARY
SECRET = "b" * 32


def cookie_of(cohort: Cohort, key: str = KEY, age: float = 0) -> Any:
    """Puts a cookie into the jar before a request."""

    def before(site: Site) -> None:
        site.jar[NAME] = site.cookie(cohort, key=key, age=age)

    return before


def mangled(name: str, value: str, event: str) -> Row:
    """A cookie that nobody signed: as without one, and a good one comes back (S1)."""
    return Row(
        f"cookie: {name}",
        apps.answer(),
        [(Ask(headers=[("cookie", value)]), Expect(body=b"x", issued=True))],
        {"canary 2xx": 1},
        {event: 1},
        weight="99.999%",
    )


GOOD_ID = "1.visitor-00000000.abc"
COOKIES = [
    mangled("forged", f"{NAME}={GOOD_ID}.c2lnbmF0dXJl", "cookie_forged"),
    mangled("unsigned", f"{NAME}={GOOD_ID}", "cookie_forged"),
    mangled("no dots", f"{NAME}=canary", "cookie_malformed"),
    mangled("8 kB", f"{NAME}={'a' * 8192}", "cookie_oversized"),
    mangled("not ASCII", f"{NAME}=1.\xe9\xff.a.b", "cookie_malformed"),
    mangled("twice", f"{NAME}={GOOD_ID}.a; {NAME}={GOOD_ID}.b", "cookie_duplicated"),
    Row(
        "cookie: a returning visitor keeps the version",
        version,
        [
            (Ask(who=CANARY), Expect(body=b"2", headers=OURS)),
            (Ask(who=STABLE), Expect(body=b"1", headers=OURS)),
            (Ask(who=CANARY), Expect(body=b"2", headers=OURS)),
        ],
        {"canary 2xx": 2, "stable 2xx": 1},
        weight="50%",
    ),
    Row(
        "cookie: found between others",
        version,
        [(Ask(jar=True, before=cookie_of(CANARY)), Expect(body=b"2"))],
        {"canary 2xx": 1},
        weight="50%",
    ),
    Row(
        "cookie: the second request gets none",
        apps.answer(),
        [
            (Ask(), Expect(body=b"x", headers={"vary": DRAWN}, issued=True)),
            (Ask(jar=True), Expect(body=b"x", headers={"vary": "Cookie"})),
            (Ask(jar=True), Expect(body=b"x", headers={"vary": "Cookie"})),
        ],
        {"canary 2xx": 3},
        weight="99.999%",
    ),
    Row(
        "cookie: an unexposed page draws nobody",
        hello,
        [(Ask(), Expect(body=b"hello", headers={"vary": None}))],
        weight="50%",
    ),
    Row(
        "cookie: at 0 % nobody is drawn, the headers are the same",
        version,
        [(Ask(), Expect(body=b"1", headers=OURS))],
        {"stable 2xx": 1},
        weight="0%",
    ),
    Row(
        "cookie: signed by the old key, issued again",
        version,
        [
            (Ask(jar=True, before=cookie_of(CANARY, OLD_KEY)), Expect(issued=True)),
            (Ask(jar=True), Expect(issued=False)),
        ],
        {"canary 2xx": 2},
        weight="50%",
        canary={"secret_keys": [OLD_KEY, KEY]},
    ),
    Row(
        "cookie: the old key was removed",
        apps.answer(),
        [(Ask(jar=True, before=cookie_of(CANARY, OLD_KEY)), Expect(body=b"x", issued=True))],
        {"canary 2xx": 1},
        {"cookie_forged": 1},
        weight="99.999%",
    ),
    Row(
        "cookie: past half of its life",
        version,
        [(Ask(jar=True, before=cookie_of(CANARY, age=MAX_AGE / 2 + 1)), Expect(issued=True))],
        {"canary 2xx": 1},
        weight="50%",
    ),
    Row(
        "cookie: expired",
        apps.answer(),
        [
            (
                Ask(jar=True, before=cookie_of(CANARY, age=MAX_AGE + 1)),
                Expect(body=b"x", issued=True),
            )
        ],
        {"canary 2xx": 1},
        {"cookie_expired": 1},
        weight="99.999%",
    ),
]


def fetch(site: str, mode: str, dest: str) -> Headers:
    return [("sec-fetch-site", site), ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]


def first(name: str, method: str, headers: Headers, *, draws: bool) -> Row:
    """Whether a first request draws an id; if not: stable, no cookie, and nobody to count."""
    expect = Expect(body=b"x", headers={"vary": DRAWN, "cache-control": PRIVATE}, issued=draws)
    return Row(
        f"first request: {name}",
        apps.answer(),
        [(Ask(method=method, headers=headers), expect)],
        {"canary 2xx": 1} if draws else {},
        weight="99.999%",
    )


FIRST = [
    first("a client that says nothing", "GET", [], draws=True),
    first("typed address", "GET", fetch("none", "navigate", "document"), draws=True),
    first("followed link", "GET", fetch("cross-site", "navigate", "document"), draws=True),
    first("form", "POST", fetch("same-origin", "navigate", "document"), draws=True),
    first("back from paying", "POST", fetch("cross-site", "navigate", "document"), draws=False),
    first("own script", "POST", fetch("same-origin", "cors", "empty"), draws=True),
    first("sibling's script", "GET", fetch("same-site", "cors", "empty"), draws=True),
    first("foreign script", "GET", fetch("cross-site", "cors", "empty"), draws=False),
    first("image", "GET", fetch("same-origin", "no-cors", "image"), draws=False),
    first("style", "GET", fetch("same-origin", "no-cors", "style"), draws=False),
    first("frame", "GET", fetch("cross-site", "navigate", "iframe"), draws=False),
]


def who(view: RequestView) -> Visitor | str | None:
    """Identifies by a header, as behind an authenticating proxy."""
    name = view.header("X-User")
    if name == "broken":
        raise LookupError("no such user")
    return Visitor(name, frozenset({"beta"} if name == "tess" else ())) if name else None


def as_user(name: str) -> Headers:
    return [("x-user", name)]


IDENTIFIED: dict[str, Any] = {"identify": who, "bucket_secret": SECRET}
PEOPLE = [
    Row(
        "testers get the canary at weight 0",
        version,
        [
            (Ask(headers=as_user("tess")), Expect(body=b"2", headers={"vary": "Cookie, X-User"})),
            (Ask(headers=as_user("adam")), Expect(body=b"1", headers={"vary": "Cookie, X-User"})),
        ],
        {"canary 2xx": 1, "stable 2xx": 1},
        weight="0%",
        rollout={"testers": Audience(groups=["beta"])},
        canary=IDENTIFIED,
    ),
    Row(
        "the denied stay on stable at 100 %, testers too",
        version,
        [
            (Ask(headers=as_user("tess")), Expect(body=b"1")),
            (Ask(headers=as_user("adam")), Expect(body=b"2")),
        ],
        {"stable 2xx": 1, "canary 2xx": 1},
        rollout={"denied": Audience(["tess"]), "testers": Audience(groups=["beta"])},
        canary=IDENTIFIED,
    ),
    Row(
        "testers stay out of what was not started",
        version,
        [(Ask(headers=as_user("tess")), Expect(body=b"1"))],
        {"stable 2xx": 1},
        weight=None,
        rollout={"testers": Audience(groups=["beta"])},
        canary=IDENTIFIED,
    ),
    Row(
        "identify fails: stable, and nobody notices",
        version,
        [(Ask(headers=as_user("broken")), Expect(body=b"1", headers={"vary": "Cookie, X-User"}))],
        {"stable 2xx": 1},
        {"error_identify": 1},
        canary=IDENTIFIED,
    ),
    Row(
        "identify gives nonsense: stable",
        version,
        [(Ask(), Expect(body=b"1"))],
        {"stable 2xx": 1},
        {"error_identify": 1},
        canary={"identify": lambda _view: 17, "bucket_secret": SECRET},
    ),
    Row(
        "a predicate fails: stable",
        version,
        [(Ask(headers=as_user("tess")), Expect(body=b"1"))],
        {"stable 2xx": 1},
        {"error_audience": 1},
        rollout={"testers": Audience(predicate=lambda visitor: visitor.attributes["age"] > 1)},
        canary=IDENTIFIED,
    ),
    Row(
        "an identified visitor needs no cookie",
        apps.answer(),
        [(Ask(headers=as_user("adam")), Expect(body=b"x", headers={"vary": "Cookie, X-User"}))],
        {"canary 2xx": 1},
        weight="99.999%",
        canary=IDENTIFIED,
    ),
    Row(
        "sign-in: the first draw wins, and the cookie is bound to the user once",
        version,
        [
            (Ask(jar=True, before=cookie_of(CANARY)), Expect(body=b"2", issued=False)),
            (Ask(jar=True, headers=as_user("adam")), Expect(body=b"2", issued=True)),
            (Ask(jar=True, headers=as_user("adam")), Expect(body=b"2", issued=False)),
            (Ask(jar=True), Expect(body=b"2", issued=False)),
        ],
        {"canary 2xx": 4},
        weight="50%",
        canary=IDENTIFIED,
    ),
    Row(
        "headers that identify reads by other ways are named by the configuration",
        version,
        [(Ask(), Expect(headers={"vary": "Cookie, Authorization"}))],
        {"canary 2xx": 1},
        canary={"vary": ["Authorization"]},
    ),
]

# --- sign-in, sign-out, and users who share a browser ---------------------------------------------


def own(cohort: Cohort, number: int = 0) -> str:
    """A user whom the own bucket puts on that side at 50 %."""
    lane = lane_key(SECRET.encode(), "shop", "checkout", "2")
    limit, wanted = threshold(50_000), cohort is CANARY
    names = (f"user-{n}" for n in range(1000))
    found = [name for name in names if (draw(lane, IDENTIFIED_BY, name) < limit) is wanted]
    return found[number]


ADAM, BEA, CARA = own(STABLE), own(STABLE, 1), own(CANARY)


def signed_in(name: str, **rest: Any) -> Ask:
    """In the browser of the row."""
    return Ask(jar=True, headers=as_user(name), **rest)


def weight(thousandths: int) -> Any:
    def before(site: Site) -> None:
        site.verb(Verb.WEIGHT, weight=thousandths)

    return before


SIGNED_OUT = Ask(jar=True)
BROWSER_OF_CANARY = Ask(jar=True, before=cookie_of(CANARY))
KEPT = {"set-cookie": None, **OURS, "vary": "Cookie, X-User"}


def browser(name: str, *talk: tuple[Ask, Expect], canary: int, stable: int, **rest: Any) -> Row:
    """What one browser gets at 50 %, whoever sits in front of it."""
    counts = {"canary 2xx": canary, "stable 2xx": stable}
    counts = {name: count for name, count in counts.items() if count}
    given: dict[str, Any] = {"weight": "50%", "canary": IDENTIFIED, **rest}
    return Row(f"sign-in: {name}", version, talk, counts, **given)


SHARED = [
    browser(
        "two users of one browser, and nobody in between",
        (BROWSER_OF_CANARY, Expect(body=b"2", headers=KEPT)),
        (signed_in(ADAM), Expect(body=b"2", issued=True)),
        (SIGNED_OUT, Expect(body=b"2", headers=KEPT)),
        (signed_in(BEA), Expect(body=b"1", headers=KEPT)),
        (signed_in(CARA), Expect(body=b"2", headers=KEPT)),
        (SIGNED_OUT, Expect(body=b"2", headers=KEPT)),
        (signed_in(ADAM), Expect(body=b"2", headers=KEPT)),
        canary=6,
        stable=1,
    ),
    browser(
        "in a browser of the stable side",
        (Ask(jar=True, before=cookie_of(STABLE)), Expect(body=b"1")),
        (signed_in(CARA), Expect(body=b"1", issued=True)),
        (signed_in(ADAM), Expect(body=b"1")),
        (signed_in(own(CANARY, 1)), Expect(body=b"2")),
        (SIGNED_OUT, Expect(body=b"1")),
        (signed_in(CARA), Expect(body=b"1")),
        canary=1,
        stable=5,
    ),
    browser(
        "on a device without a cookie the user's own bucket decides, and leaves none",
        (Ask(headers=as_user(ADAM)), Expect(body=b"1", headers=KEPT)),
        (Ask(headers=as_user(CARA)), Expect(body=b"2", headers=KEPT)),
        canary=1,
        stable=1,
    ),
    browser(
        "who signs out of a browser without a cookie is a new visitor",
        (Ask(headers=as_user(ADAM)), Expect(body=b"1", issued=False)),
        (Ask(before=weight(99_999)), Expect(body=b"2", issued=True)),
        canary=1,
        stable=1,
    ),
    browser(
        "the bound cookie in other hands gives nobody's version away",
        (BROWSER_OF_CANARY, Expect(body=b"2")),
        (signed_in(ADAM), Expect(body=b"2", issued=True)),
        *((signed_in(own(STABLE, n)), Expect(body=b"1", headers=KEPT)) for n in range(2, 7)),
        canary=2,
        stable=5,
    ),
    browser(
        "under keep each user has the own pin",
        (BROWSER_OF_CANARY, Expect(body=b"2", issued=True)),
        (signed_in(ADAM), Expect(body=b"2", issued=True)),
        (signed_in(CARA), Expect(body=b"2", issued=True)),
        (signed_in(BEA), Expect(body=b"1", issued=False)),
        (signed_in(ADAM, before=weight(0)), Expect(body=b"2", issued=False)),
        (signed_in(CARA), Expect(body=b"2")),
        (signed_in(BEA), Expect(body=b"1")),
        (signed_in(own(CANARY, 2)), Expect(body=b"1")),
        (SIGNED_OUT, Expect(body=b"2")),
        canary=6,
        stable=3,
        rollout={"policy": "keep"},
    ),
    browser(
        "a session of each user holds at every weight",
        (BROWSER_OF_CANARY, Expect(body=b"2", issued=True)),
        (signed_in(ADAM), Expect(body=b"2", issued=True)),
        (signed_in(BEA), Expect(body=b"1", issued=True)),
        (signed_in(ADAM, before=weight(0)), Expect(body=b"2", issued=False)),
        (signed_in(BEA, before=weight(100_000)), Expect(body=b"1", issued=False)),
        (signed_in(ADAM), Expect(body=b"2", issued=False)),
        (SIGNED_OUT, Expect(body=b"2", issued=False)),
        canary=5,
        stable=2,
        rollout={"policy": "session"},
    ),
    browser(
        "a kill and a revive later everybody is back where they were",
        (BROWSER_OF_CANARY, Expect(body=b"2")),
        (signed_in(ADAM), Expect(body=b"2", issued=True)),
        (signed_in(ADAM, before=lambda site: site.kill()), Expect(body=b"1")),
        (SIGNED_OUT, Expect(body=b"1")),
        (signed_in(ADAM, before=lambda site: site.verb(Verb.REVIVE)), Expect(body=b"2")),
        (signed_in(BEA), Expect(body=b"1")),
        (SIGNED_OUT, Expect(body=b"2")),
        canary=4,
        stable=3,
    ),
]

ROWS = [*COOKIES, *FIRST, *PEOPLE, *SHARED]
