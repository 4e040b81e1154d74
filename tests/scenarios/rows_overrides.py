"""Scenarios: signed overrides, in every way, at every gate, and what nobody gets by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from canary_middleware import Audience, Callers, Cohort, Rollout, current
from canary_middleware.core.cookie import Cookie, write
from canary_middleware.core.override import KIND, Override, mint
from canary_middleware.core.state import Verb
from canary_middleware.core.token import TokenCodec
from tests.scenarios import apps
from tests.scenarios.apps import hello, version
from tests.scenarios.facade import KEY
from tests.scenarios.rows_answers import OURS, PRIVATE, UNTOUCHED
from tests.scenarios.rows_visitors import IDENTIFIED, as_user
from tests.scenarios.site import NAME, NOW, OLD_KEY, Site
from tests.scenarios.words import Ask, Expect, Handling, Headers, Row, Start

STABLE, CANARY = Cohort.STABLE, Cohort.CANARY
COOKIE = "__Host-canary-override-shop"
ON: dict[str, Any] = {"overrides": ["header", "cookie", "query"]}
SECONDS = 3600


def token(
    cohort: Cohort = CANARY,
    *,
    key: str = KEY,
    namespace: str = "shop",
    kind: str = KIND,
    **fields: Any,
) -> str:
    usual = {"rollout": "checkout", "release": "2", "issued": int(NOW), "until": int(NOW) + SECONDS}
    codec = TokenCodec([key.encode()], namespace, kind)
    return mint(codec, Override(cohort=cohort, **{**usual, **fields}))


def by_header(*tokens: str) -> Headers:
    return [("x-canary-override", one) for one in tokens]


def by_cookie(*tokens: str) -> Headers:
    return [("cookie", f"a=1; {COOKIE}={':'.join(tokens)}")]


VARY = {"vary": "Cookie, X-Canary-Override", "cache-control": PRIVATE}
GOOD, TO_STABLE = token(), token(STABLE)
DEBUG = token(debug=True)
DEBUGGED = [*by_header(DEBUG), ("x-canary-explain", "1")]


def row(name: str, *talk: tuple[Ask, Expect], counts: dict[str, int], **rest: Any) -> Row:
    """A row of the usual application where all ways are on; at 0 % unless it says more."""
    canary = {**ON, **rest.pop("canary", {})}
    given = {"app": version, "weight": "0%", **rest}
    return Row(f"override: {name}", talk=talk, counts=counts, canary=canary, **given)


WAYS = [
    row(
        "by header, at weight 0",
        (Ask(headers=by_header(GOOD)), Expect(body=b"2", headers=VARY)),
        (Ask(), Expect(body=b"1", headers=VARY)),
        counts={"canary 2xx": 1, "stable 2xx": 1},
    ),
    row(
        "by cookie",
        (Ask(headers=by_cookie(GOOD)), Expect(body=b"2", headers={"set-cookie": None})),
        counts={"canary 2xx": 1},
    ),
    row(
        "by query, and the subresources of the page agree with it",
        (
            Ask(f"/checkout?a=1&canary-override={GOOD}"),
            Expect(
                headers={
                    **VARY,
                    "set-cookie": f"{COOKIE}={GOOD}; Max-Age={SECONDS}; Path=/; HttpOnly; "
                    "SameSite=Lax; Secure",
                }
            ),
        ),
        (Ask("/checkout/style", jar=True), Expect(body=b"2", headers={"set-cookie": None})),
        counts={"canary 2xx": 2},
    ),
    row(
        "by query alone leaves no cookie",
        (Ask(f"/checkout?canary-override={GOOD}"), Expect(headers={**OURS, "set-cookie": None})),
        (Ask(jar=True), Expect(body=b"1")),
        counts={"canary 2xx": 1, "stable 2xx": 1},
        canary={"overrides": ["query"]},
    ),
    row(
        "to stable, at 100 %",
        (Ask(headers=by_header(TO_STABLE)), Expect(body=b"1", headers=VARY)),
        (Ask(headers=by_cookie(TO_STABLE)), Expect(body=b"1", headers=VARY)),
        counts={"stable 2xx": 2},
        weight="100%",
    ),
    row(
        "nobody is drawn for it, and when it is over the visitor is who it was",
        (Ask(headers=by_header(GOOD)), Expect(headers=VARY)),
        (Ask(who=STABLE, headers=by_header(GOOD)), Expect(headers=VARY)),
        (Ask(who=STABLE), Expect(body=b"1")),
        (Ask(who=CANARY, headers=by_header(TO_STABLE)), Expect(body=b"1")),
        (Ask(who=CANARY), Expect(body=b"2")),
        counts={"canary 2xx": 3, "stable 2xx": 2},
        weight="50%",
    ),
    *(
        row(
            f"leaves no pin under {policy}",
            (Ask(jar=True, headers=by_header(GOOD)), Expect(body=b"2", headers=VARY)),
            (Ask(who=STABLE, headers=by_header(GOOD)), Expect(body=b"2", headers=VARY)),
            (Ask(headers=by_header(TO_STABLE)), Expect(body=b"1", headers=VARY)),
            counts={"canary 2xx": 2, "stable 2xx": 1},
            weight="50%",
            rollout={"policy": policy},
        )
        for policy in ("keep", "session", "request")
    ),
    row(
        "is no context of a calling service",
        (Ask(headers=[("canary-context", GOOD)]), Expect(body=b"1")),
        counts={"stable 2xx": 1},
        events={"service_forged": 1},
        canary={"callers": Callers(signed=True)},
    ),
    row(
        "outside of every rollout the query is kept, too",
        (
            Ask(f"/?canary-override={GOOD}"),
            Expect(body=b"", headers={"cache-control": PRIVATE, "vary": "Cookie"}),
        ),
        (Ask("/checkout", jar=True), Expect(body=b"2")),
        counts={"canary 2xx": 1},
        rollout={"paths": ["/checkout"]},
    ),
    row(
        "on a page that reads no version it is kept, too",
        (
            Ask(f"/checkout?canary-override={GOOD}"),
            Expect(body=b"hello", headers={"cache-control": PRIVATE}),
        ),
        (Ask(headers=by_header(GOOD)), Expect(body=b"hello", headers=UNTOUCHED)),
        counts={},
        app=hello,
    ),
    row(
        "a public answer carries no cookie",
        (
            Ask(f"/checkout?canary-override={GOOD}", headers=DEBUGGED),
            Expect(
                body=b"x",
                headers={
                    "cache-control": "public",
                    "set-cookie": None,
                    "vary": None,
                    "x-canary-explain": None,
                },
            ),
        ),
        counts={"canary 2xx": 1},
        events={"public_response": 1},
        app=apps.answer(headers=(("content-type", "a/b"), ("cache-control", "public"))),
    ),
]


def refused(name: str, bad: str, event: str | None = "forged", **rest: Any) -> Row:
    """A token that does nothing, in each of the ways."""
    return row(
        f"{name} does nothing",
        (Ask(headers=by_header(bad)), Expect(body=b"1", headers=VARY)),
        (Ask(headers=by_cookie(bad)), Expect(body=b"1", headers=VARY)),
        (
            Ask(f"/checkout?canary-override={bad}"),
            Expect(body=b"1", headers={**VARY, "set-cookie": None}),
        ),
        counts={"stable 2xx": 3},
        **{"events": {f"override_{event}": 3} if event else {}, **rest},
    )


def flipped(good: str) -> str:
    at = good.index("checkout")
    return good[:at] + chr(ord(good[at]) ^ 1) + good[at + 1 :]


VISITOR = write(TokenCodec([KEY.encode()], "shop", "visitor"), Cookie("A" * 16, int(NOW)))
REFUSED = [
    refused("a word", "always", "malformed"),
    refused("nothing that is signed", "1.checkout.Mg.c.1800000000.1800003600.n.", "forged"),
    refused("one bit", flipped(GOOD)),
    refused("a token of another key", token(key="x" * 32)),
    refused("a token of a removed key", token(key=OLD_KEY)),
    refused("a token of another namespace", token(namespace="blog")),
    refused("a visitor's cookie", VISITOR),
    refused("a token of the kind of a cookie", token(kind="visitor")),
    refused("a token of the kind of a service", token(kind="service")),
    refused("a token that has ended", token(issued=int(NOW) - 9, until=int(NOW)), "expired"),
    refused("a token from the future", token(issued=int(NOW) + 61), "future"),
    row(
        "tokens of another rollout and another release do nothing",
        (Ask(headers=by_header(token(rollout="search"))), Expect(body=b"1")),
        (Ask(headers=by_header(token(release="3"))), Expect(body=b"1")),
        counts={"stable 2xx": 2},
        events={"override_unknown_rollout": 1, "override_other_release": 1},
    ),
    row(
        "there twice does nothing",
        (
            Ask(f"/checkout?canary-override={GOOD}&canary-override={GOOD}"),
            Expect(body=b"1", headers={"set-cookie": None}),
        ),
        (
            Ask(headers=[*by_cookie(GOOD), ("cookie", f"{COOKIE}={GOOD}")]),
            Expect(body=b"1"),
        ),
        counts={"stable 2xx": 2},
        events={"override_duplicated": 2},
    ),
    row(
        "a token is no visitor's cookie",
        (Ask(headers=[("cookie", f"{NAME}={GOOD}")]), Expect(body=b"x", issued=True)),
        counts={"canary 2xx": 1},
        events={"cookie_forged": 1},
        app=apps.answer(),
        weight="99.999%",
    ),
    row(
        "off by default, and then nothing counts or varies",
        (Ask(headers=DEBUGGED), Expect(body=b"1", headers={**OURS, "x-canary-explain": None})),
        (Ask(headers=by_cookie(GOOD)), Expect(body=b"1", headers=OURS)),
        (
            Ask(f"/checkout?canary-override={GOOD}"),
            Expect(body=b"1", headers={**OURS, "set-cookie": None}),
        ),
        counts={"stable 2xx": 3},
        canary={"overrides": []},
    ),
    row(
        "each way is on by itself",
        (Ask(headers=by_header(GOOD)), Expect(body=b"1", headers=OURS)),
        (Ask(headers=by_cookie(GOOD)), Expect(body=b"2", headers=OURS)),
        (Ask(f"/checkout?canary-override={GOOD}"), Expect(body=b"1")),
        counts={"stable 2xx": 2, "canary 2xx": 1},
        canary={"overrides": ["cookie"]},
    ),
]


def rolled_back(site: Site) -> None:
    site.verb(Verb.ROLLBACK, why="test")


def killed(site: Site) -> None:
    site.kill()


def gated(name: str, before: Callable[[Site], object] | None, *, debug: bool, **rest: Any) -> Row:
    """Whether a debug token opens a gate; others never do."""
    opened = Expect(body=b"2" if debug else b"1", headers=VARY)
    return row(
        f"{name}: {'only a debug token passes' if debug else 'nothing passes'}",
        (Ask(headers=by_header(GOOD), before=before), Expect(body=b"1", headers=VARY)),
        (Ask(headers=by_header(DEBUG)), opened),
        (Ask(), Expect(body=b"1", headers=VARY)),
        counts={"stable 2xx": 2, "canary 2xx": 1} if debug else {"stable 2xx": 3},
        **{"weight": "100%", **rest},
    )


GATES = [
    gated("not started", None, debug=True, weight=None),
    gated("rolled back", rolled_back, debug=True),
    gated("killed", killed, debug=False),
    row(
        "a debug token passes before the start where visitors are identified",
        (Ask(headers=[*by_header(DEBUG), *as_user("adam")]), Expect(body=b"2")),
        (Ask(headers=[*by_header(GOOD), *as_user("adam")]), Expect(body=b"1")),
        counts={"canary 2xx": 1, "stable 2xx": 1},
        weight=None,
        canary=IDENTIFIED,
    ),
    row(
        "the denied stay on stable",
        (Ask(headers=[*by_header(GOOD), *as_user("mallory")]), Expect(body=b"1")),
        (Ask(headers=[*by_header(DEBUG), *as_user("mallory")]), Expect(body=b"1")),
        (Ask(headers=[*by_header(GOOD), *as_user("adam")]), Expect(body=b"2")),
        counts={"stable 2xx": 2, "canary 2xx": 1},
        rollout={"denied": Audience(["mallory"])},
        canary=IDENTIFIED,
    ),
    row(
        "testers, too, get what the token says",
        (Ask(headers=as_user("tess")), Expect(body=b"2")),
        (Ask(headers=[*by_header(TO_STABLE), *as_user("tess")]), Expect(body=b"1")),
        counts={"stable 2xx": 1, "canary 2xx": 1},
        rollout={"testers": Audience(groups=["beta"])},
        canary=IDENTIFIED,
    ),
    row(
        "whoever cannot be identified is on stable",
        (Ask(headers=[*by_header(DEBUG), *as_user("broken")]), Expect(body=b"1")),
        counts={"stable 2xx": 1},
        events={"error_identify": 1},
        canary=IDENTIFIED,
    ),
    row(
        "a canary that fails is rescued",
        (
            Ask(headers=by_header(GOOD)),
            Expect(body=b"fine", headers={"cache-control": "no-store"}),
        ),
        counts={"canary rescued": 1},
        events={"rescues": 1},
        app=apps.answer_by_version(apps.answer(chunks=[b"fine"]), apps.raising),
    ),
    row(
        "a kill that comes meanwhile supersedes it",
        (
            Ask(headers=by_header(GOOD)),
            Expect(body=b"1", arrivals=["canary ran", "killed", "got 1"]),
        ),
        counts={"canary superseded": 1, "stable 2xx": 1},
        events={"in_flight_at_kill": 1},
        app=apps.killed_meanwhile,
    ),
    row(
        "a target of its own",
        (Ask(headers=by_header(GOOD)), Expect(body=b"2")),
        (Ask(), Expect(body=b"hello")),
        counts={"canary 2xx": 1, "stable 2xx": 1},
        app=hello,
        target=version,
    ),
]


def both(site: Site) -> Handling:
    """Reads two rollouts."""
    body = current("checkout").version + current("search").version
    yield Start()
    yield body.encode()


SEARCH = Rollout("search", stable="a", canary="b")
FOR_SEARCH = token(rollout="search", release="b")
SEVERAL = [
    row(
        "several tokens for different rollouts, each for its own",
        (Ask(headers=by_header(GOOD)), Expect(body=b"2a")),
        (Ask(headers=by_header(FOR_SEARCH)), Expect(body=b"1b")),
        (Ask(headers=by_header(GOOD, FOR_SEARCH)), Expect(body=b"2b")),
        (Ask(headers=[*by_header(GOOD), *by_cookie(FOR_SEARCH)]), Expect(body=b"2b")),
        (Ask(f"/?canary-override={GOOD}:{FOR_SEARCH}"), Expect(body=b"2b")),
        counts={"canary 2xx": 8, "stable 2xx": 2},
        app=both,
        more=[SEARCH],
    ),
]


def told(first: str, rest: str = "") -> dict[str, str | list[str] | None]:
    return {"x-canary-explain": first + rest}


WEIGHT_0 = "weight: 0.00000%, not below"
EXPLAINED = [
    row(
        "a debug token may ask why",
        (
            Ask(headers=DEBUGGED),
            Expect(
                body=b"2a",
                headers=told(
                    "checkout: canary, version 2, reason override (override: canary), ",
                    f"search: stable, version a, reason weight ({WEIGHT_0})",
                ),
            ),
        ),
        (
            Ask(headers=[*DEBUGGED, *as_user("tess")]),
            Expect(
                body=b"2a",
                headers=told(
                    "checkout: canary, version 2, reason override "
                    "(audience: neither denied nor tester; override: canary), ",
                    "search: stable, version a, reason weight "
                    f"(audience: neither denied nor tester; {WEIGHT_0})",
                ),
            ),
        ),
        (Ask(headers=by_header(DEBUG)), Expect(body=b"2a", headers={"x-canary-explain": None})),
        (
            Ask(headers=[*by_header(GOOD), ("x-canary-explain", "1")]),
            Expect(body=b"2a", headers={"x-canary-explain": None}),
        ),
        (
            Ask(headers=[("x-canary-explain", "1")]),
            Expect(body=b"1a", headers={"x-canary-explain": None}),
        ),
        counts={"canary 2xx": 4, "stable 2xx": 6},
        app=both,
        more=[SEARCH],
        canary=IDENTIFIED,
    ),
    row(
        "a kill is explained",
        (
            Ask(headers=DEBUGGED, before=killed),
            Expect(
                body=b"1",
                headers=told("checkout: stable, version 1, reason kill_switch (", "gate)"),
            ),
        ),
        counts={"stable 2xx": 1},
    ),
    row(
        "pages outside of every rollout have nothing to explain",
        (
            Ask("/", headers=DEBUGGED),
            Expect(body=b"", headers=UNTOUCHED | {"x-canary-explain": None}),
        ),
        counts={},
        rollout={"paths": ["/checkout"]},
    ),
]

ROWS = [*WAYS, *REFUSED, *GATES, *SEVERAL, *EXPLAINED]
