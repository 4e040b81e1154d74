from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.codec import decode_report, encode_report
from canary_middleware.core.model import Audience, Rescue, Rollout, Visitor
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Plan
from canary_middleware.core.validate import (
    MAX_DECLARED,
    as_bytes,
    flag_problems,
    is_async,
    key_problems,
    namespace_problems,
    observer_problems,
    overlap_problems,
    override_problems,
    pace_problems,
    rollout_problems,
    seconds_problems,
    secret_problems,
    secure_problems,
    vary_problems,
    weight_problem,
)
from canary_middleware.errors import Problem

GOOD = Rollout("checkout", stable="1", canary="2", ramp=Ramp("1%", "5%", "100%"))
KEY = "k" * 32


def good(**changes: Any) -> Rollout:
    return replace(GOOD, **changes)


def wrong(value: Any) -> Any:
    """A value of a type that no checker lets through."""
    return value


def texts(problems: list[Problem]) -> list[str]:
    assert all(problem.hint for problem in problems), "a problem without a hint helps nobody"
    return [f"{problem.place}: {problem.message}" for problem in problems]


def affinities(**changes: Any) -> list[str]:
    return texts(rollout_problems([good(**changes)]))


async def later(visitor: Visitor) -> bool:
    return False


class Now:
    """A hook that is an object."""

    def __call__(self, _: Visitor) -> bool:
        return False

    async def look(self, _: Visitor) -> bool:
        return False


class Later:
    """One that has to be awaited."""

    async def __call__(self, _: Visitor) -> bool:
        return False


class Heir(Later):
    """Whose call is inherited."""


@pytest.mark.parametrize(
    ("rollout", "place", "message"),
    [
        (good(name=""), "rollout ''", "is not a name"),
        (good(name="a b"), "rollout 'a b'", "is not a name"),
        (good(name="-a"), "rollout '-a'", "is not a name"),
        (good(name="*"), "rollout '*'", "is not a name"),
        (good(name="a\n"), "rollout 'a\\n'", "is not a name"),
        (good(name="x" * 65), f"rollout '{'x' * 65}'", "is not a name"),
        (good(name=5), "rollout 5", "is not a name"),
        (good(name=None), "rollout None", "is not a name"),
        (good(name=["a"]), "rollout ['a']", "is not a name"),
        (good(stable=""), "rollout 'checkout', stable", "'' is not a label"),
        (good(canary=2), "rollout 'checkout', canary", "2 is not a label"),
        (good(canary="2 0"), "rollout 'checkout', canary", "'2 0' is not a label"),
        (good(canary="2\n"), "rollout 'checkout', canary", "is not a label"),
        (good(canary="x" * 65), "rollout 'checkout', canary", "is not a label"),
        (good(canary="1"), "rollout 'checkout', canary", "is the same as stable ('1')"),
        (good(paths="/x"), "rollout 'checkout', paths", "'/x' is not a list"),
        (good(paths=[]), "rollout 'checkout', paths", "is empty"),
        (good(paths=["x"]), "rollout 'checkout', paths", "'x' is not a path"),
        (good(paths=["/a/*"]), "rollout 'checkout', paths", "'/a/*' is no pattern: * would have"),
        (good(exclude=["/a/{b}"]), "rollout 'checkout', exclude", "'/a/{b}' is no pattern: {"),
        (good(paths=[5]), "rollout 'checkout', paths", "5 is not a path"),
        (good(paths=["/x", "/x"]), "rollout 'checkout', paths", "'/x' stands there twice"),
        (good(paths=[["/x"]]), "rollout 'checkout', paths", "['/x'] is not a path"),
        (good(paths=None), "rollout 'checkout', paths", "None is not a list"),
        (good(paths=5), "rollout 'checkout', paths", "5 is not a list"),
        (good(paths=["/a\nb"]), "rollout 'checkout', paths", "'/a\\nb' cannot be shared"),
        (good(paths=["/check\u00adout"]), "rollout 'checkout', paths", "cannot be shared"),
        (good(paths=["/" + "a" * 1000]), "rollout 'checkout', paths", "cannot be shared"),
        (good(exclude=None), "rollout 'checkout', exclude", "None is not a list"),
        (good(exclude=["/\x7f"]), "rollout 'checkout', exclude", "cannot be shared"),
        (good(methods=None), "rollout 'checkout', methods", "None is not a list"),
        (good(methods=["M" * 201]), "rollout 'checkout', methods", "is not a method"),
        (good(owner=42), "rollout 'checkout', owner", "is not one line"),
        (good(owner="a@example.com\nb"), "rollout 'checkout', owner", "is not one line"),
        (good(owner="x" * 1001), "rollout 'checkout', owner", "is not one line"),
        (good(exclude="/x"), "rollout 'checkout', exclude", "'/x' is not a list"),
        (good(exclude=["x"]), "rollout 'checkout', exclude", "'x' is not a path"),
        (good(methods="GET"), "rollout 'checkout', methods", "'GET' is not a list"),
        (good(methods=["get"]), "rollout 'checkout', methods", "'get' is not a method"),
        (good(methods=[5]), "rollout 'checkout', methods", "5 is not a method"),
        (good(methods=["GET", "GET"]), "rollout 'checkout', methods", "'GET' stands there twice"),
        (good(ramp=Ramp(wrong(5))), "rollout 'checkout', ramp", "bare number"),
        (good(ramp=Ramp("5")), "rollout 'checkout', ramp", "no percent sign"),
        (good(ramp=Ramp("101%")), "rollout 'checkout', ramp", "outside 0% to 100%"),
        (good(ramp=Ramp("5%", "5%")), "rollout 'checkout', ramp", "'5%' after '5%'"),
        (good(ramp=Ramp("5%", "1%")), "rollout 'checkout', ramp", "'1%' after '5%'"),
        (good(ramp=("1%",)), "rollout 'checkout', ramp", "is tuple, not Ramp"),
        (good(testers=["alice"]), "rollout 'checkout', testers", "is list, not Audience"),
        (good(denied=None), "rollout 'checkout', denied", "is NoneType, not Audience"),
        (
            good(denied=Audience(groups="minors")),
            "rollout 'checkout', denied, groups",
            "one string",
        ),
        (
            good(testers=Audience(subjects="al")),
            "rollout 'checkout', testers, subjects",
            "one string",
        ),
        (
            good(testers=Audience(predicate=wrong(5))),
            "rollout 'checkout', testers, predicate",
            "be called",
        ),
        (
            good(testers=Audience(predicate=wrong(later))),
            "rollout 'checkout', testers, predicate",
            "async",
        ),
        (
            good(testers=Audience(predicate=wrong(Later()))),
            "rollout 'checkout', testers, predicate",
            "async",
        ),
        (
            good(testers=Audience(subjects=wrong(None))),
            "rollout 'checkout', testers, subjects",
            "is NoneType, not a list",
        ),
        (
            good(denied=Audience(subjects=wrong([42, "42"]))),
            "rollout 'checkout', denied, subjects",
            "holds int, not only strings",
        ),
        (
            good(denied=Audience(subjects=wrong([["mallory"]]))),
            "rollout 'checkout', denied, subjects",
            "is list, not a list of strings",
        ),
        (
            good(rescue=Rescue(enabled=wrong("false"))),
            "rollout 'checkout', rescue, enabled",
            "'false' is neither True nor False",
        ),
        (
            good(rescue=Rescue(methods=wrong(iter(["GET"])))),
            "rollout 'checkout', rescue, methods",
            "not a list",
        ),
        (good(rescue=True), "rollout 'checkout', rescue", "is bool, not Rescue"),
        (good(rescue=Rescue(budget="2")), "rollout 'checkout', rescue, budget", "percent sign"),
        (good(rescue=Rescue(methods="GET")), "rollout 'checkout', rescue, methods", "not a list"),
        (
            good(rescue=Rescue(methods=("put",))),
            "rollout 'checkout', rescue, methods",
            "'put' is not",
        ),
    ],
)
def test_each_mistake_is_found_alone_and_at_its_place(
    rollout: Rollout, place: str, message: str
) -> None:
    (found,) = rollout_problems([rollout])
    assert found.place == place
    assert message in found.message
    assert found.hint


def test_good_rollouts_have_no_problems() -> None:
    rollouts = [
        GOOD,
        good(name="A-b_9", paths=["/a"], methods=["GET", "M-SEARCH"], exclude=[], ramp=Ramp()),
        good(name="c", canary="2.0-rc.1+build/5~x", denied=Audience(groups=["minors"])),
        good(name="d", testers=Audience(predicate=lambda _: True), rescue=Rescue(methods=())),
        good(name="e", paths=["/caf\u00e9 au lait", "/" + "a" * 999], owner="\u00c9quipe <a@b.c>"),
    ]
    assert rollout_problems(rollouts) == []


def test_mistakes_across_rollouts() -> None:
    assert texts(rollout_problems([])) == ["rollouts: there is none"]
    assert texts(rollout_problems([GOOD, GOOD, GOOD])) == ["rollout 'checkout': is declared twice"]
    assert texts(rollout_problems(["checkout", GOOD])) == ["rollouts: str is not Rollout"]


def test_every_mistake_of_a_rollout_is_found_at_once() -> None:
    broken = Rollout(
        "a b",
        stable="1",
        canary="1",
        paths="/x",
        exclude=["y"],
        methods="get",
        testers=Audience(groups="beta"),
        ramp=Ramp(wrong(5), "101%"),
        rescue=Rescue(("put",), budget="x%"),
    )
    found = texts(rollout_problems([broken]))
    assert [text.partition(": ")[0].removeprefix("rollout 'a b'") for text in found] == [
        "", ", canary", ", paths", ", exclude", ", methods", ", testers, groups", ", ramp",
        ", ramp", ", rescue, methods", ", rescue, budget",
    ]  # fmt: skip


def test_nobody_can_be_in_an_audience_where_nobody_is_identified() -> None:
    some = good(testers=Audience(["alice"]), denied=Audience(predicate=lambda _: True))
    assert rollout_problems([some], identified=True) == []
    assert texts(rollout_problems([some, good(name="b")], identified=False)) == [
        f"rollout 'checkout', {side}: nobody can be one, for no visitor is identified"
        for side in ("testers", "denied")
    ]


def test_what_is_declared_fits_into_what_is_shared() -> None:
    def declared(count: int) -> list[Rollout]:
        paths = [f"/some/longer/prefix/{number}" for number in range(200)]
        return [good(name=f"r{number}", paths=paths) for number in range(count)]

    assert rollout_problems(declared(15)) == []
    (found,) = rollout_problems(declared(50))
    assert found.place == "rollouts"
    assert f"of at most {MAX_DECLARED} in the shared state" in found.message
    # As far as it is let through, a process can say it and others can read it.
    plans = {rollout.name: Plan.from_rollout(rollout) for rollout in declared(15)}
    report = ProcessReport("1", "host", 1, "asgi", 0, None, plans, 0)
    assert decode_report(encode_report(report)).plans == plans


@pytest.mark.parametrize(
    ("hook", "awaited"),
    [
        (later, True),
        (partial(later), True),
        (partial(partial(later)), True),
        (Later(), True),
        (Heir(), True),
        (Heir().__call__, True),
        (partial(Heir()), True),
        (Now().look, True),
        (partial(Now().look), True),
        (Now(), False),
        (Now().__call__, False),
        (partial(Now()), False),
        (Now, False),
        (Heir, False),
        (len, False),
        (None, False),
    ],
)
def test_what_has_to_be_awaited_is_known_without_calling_it(hook: object, awaited: bool) -> None:
    assert is_async(hook) is awaited


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
    st.lists(st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))),
)  # fmt: skip


@given(
    st.sampled_from(["name", "stable", "canary", "testers", "denied", "ramp", "rescue"]), ANYTHING
)
def test_no_type_confuses_it(field: str, value: object) -> None:
    for problem in rollout_problems([good(**{field: value})]):
        assert problem.hint


@given(st.sampled_from(["paths", "methods", "exclude"]), ANYTHING)
def test_no_list_confuses_it(field: str, value: object) -> None:
    for problem in rollout_problems([good(**{field: value})]):
        assert problem.hint


@given(st.sampled_from(["subjects", "groups"]), ANYTHING)
def test_no_audience_confuses_it(field: str, value: Any) -> None:
    audience = Audience(**{field: value})
    found = rollout_problems([good(denied=audience)])
    good_names = audience.subjects | audience.groups if not found else frozenset()
    assert all(isinstance(name, str) for name in good_names)


# --- keys and secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ([KEY], []),
        ((KEY, b"\xff" * 32), []),
        ([], ["secret_keys: is missing"]),
        (None, ["secret_keys: is NoneType, not a list"]),
        (KEY, ["secret_keys: is str, not a list"]),
        (b"", ["secret_keys: is bytes, not a list"]),
        ({KEY}, ["secret_keys: is set, not a list"]),
        (["k" * 31], ["secret_keys[0]: has 31 bytes, at least 32 are needed"]),
        (["\u00e9" * 16], []),
        (["\u00e9" * 15], ["secret_keys[0]: has 30 bytes, at least 32 are needed"]),
        (["\udcff" * 11], []),
        (
            [KEY, "", None, b"short", 5],
            [
                "secret_keys[1]: has 0 bytes, at least 32 are needed",
                "secret_keys[2]: is NoneType, not str or bytes",
                "secret_keys[3]: has 5 bytes, at least 32 are needed",
                "secret_keys[4]: is int, not str or bytes",
            ],
        ),
    ],
)
def test_keys(keys: object, found: list[str]) -> None:
    assert texts(key_problems(keys)) == found


@given(
    st.lists(st.one_of(st.text("sekrit", min_size=8), st.binary(min_size=8), st.integers(10**8)))
)
def test_no_part_of_a_key_is_ever_shown(keys: list[Any]) -> None:
    for key, problem in zip(keys, key_problems(keys), strict=False):
        for shown in (key, repr(key)) if isinstance(key, str) else (repr(key),):
            assert shown[:8] not in str(problem)
    for key in keys:
        assert not any(repr(key)[1:9] in str(found) for found in key_problems(key))


@pytest.mark.parametrize("secret", ["k" * 32, b"\0" * 32, "\u540d" * 11, "\udcff\ud800" * 16])
def test_any_text_is_a_secret_without_an_error_that_shows_it(secret: str | bytes) -> None:
    assert secret_problems(secret, "bucket_secret", "hint") == []
    assert len(as_bytes(secret)) >= 32


# --- the rest -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("namespace", "shared", "found"),
    [
        ("shop", True, []),
        (None, False, []),
        (None, True, ["namespace: is missing, and the store is shared"]),
        ("", True, ["namespace: '' is not a name"]),
        ("a{b}", True, ["namespace: 'a{b}' is not a name"]),
        ("a.b", False, ["namespace: 'a.b' is not a name"]),
        ("a:b*\r\nDEL x", True, ["namespace: 'a:b*\\r\\nDEL x' is not a name"]),
        ("caf\u00e9", True, ["namespace: 'caf\u00e9' is not a name"]),
        ("shop\n", True, ["namespace: 'shop\\n' is not a name"]),
        ("x" * 65, True, [f"namespace: '{'x' * 65}' is not a name"]),
        (5, True, ["namespace: 5 is not a name"]),
    ],
)
def test_namespace(namespace: Any, shared: bool, found: list[str]) -> None:
    assert texts(namespace_problems(namespace, shared=shared)) == found


def test_targets_may_not_overlap() -> None:
    rollouts = [
        good(name="a", paths=["/a"]),
        good(name="b", paths=["/a/b", "/c"]),
        good(name="c", paths=["/c"], methods=["POST"]),
        good(name="d", paths=["/d"]),
    ]
    assert [problem.place for problem in overlap_problems(rollouts)] == [
        "targets 'a' and 'b'", "targets 'b' and 'c'",
    ]  # fmt: skip
    assert overlap_problems(rollouts[:1]) == []


def test_small_ones() -> None:
    assert weight_problem("5%", "autostart") == []
    assert texts(weight_problem(5, "autostart"))[0].startswith("autostart: a bare number (5)")
    assert vary_problems(("Authorization", "X-User")) == []
    assert texts(vary_problems("Authorization")) == ["vary: 'Authorization' is not a list"]
    names = ["X-\u00e9", "A B", "A\r\nSet-Cookie: x", "", None]
    assert len(vary_problems(names)) == len(names)
    for ways in ((), ["header"], ("header", "cookie", "query"), {"query"}):
        assert override_problems(ways) == []
    for not_ways in ("header", None, True, 5, ["headers"], ["header", "header"], [None], iter(())):
        assert override_problems(not_ways)
    assert [secure_problems(secure) for secure in (True, False, "auto")] == [[], [], []]
    for secure in ("false", "yes", None, 0, 1, "AUTO"):
        assert secure_problems(secure)
    for seconds in (0.001, 1, 10**6):
        assert seconds_problems(seconds, "kill_grace", "hint") == []
    for wrong_seconds in (0, -1, math.nan, math.inf, "60", None, True, "10m"):
        assert len(seconds_problems(wrong_seconds, "poll", "hint")) == 1
    assert flag_problems(True, "debug") == flag_problems(False, "debug") == []
    for flag in ("false", 0, 1, None):
        assert texts(flag_problems(flag, "debug")) == [f"debug: {flag!r} is neither True nor False"]


@pytest.mark.parametrize(
    ("poll", "first_load", "max_staleness", "places"),
    [
        (0.8, 0.25, 60.0, []),
        (0.8, 0.25, 2.6, []),
        (0.8, 0.25, 2.5, ["max_staleness"]),
        (60, 60, 121, []),
        (60, 60, 120, ["max_staleness"]),
        (60.1, 60.1, None, ["poll", "first_load"]),
        (0, -1, 0, ["poll", "first_load", "max_staleness"]),
        (math.nan, None, "60", ["poll", "first_load", "max_staleness"]),
        (1e10, 0.25, 5.0, ["poll"]),
    ],
)
def test_the_switch_cannot_trip_between_two_looks(
    poll: Any, first_load: Any, max_staleness: Any, places: list[str]
) -> None:
    """A14: visitors changed sides while the store answered every time."""
    found = pace_problems(poll, first_load, max_staleness)
    assert [text.partition(":")[0] for text in texts(found)] == places


def test_telemetry_is_a_switch_or_answers_to_every_name() -> None:
    class Half:
        def describe(self) -> None: ...

    class Whole(Half):
        def watch(self) -> None: ...

    good_ones: list[object] = [None, True, False, Whole()]
    assert [observer_problems(telemetry, Whole) for telemetry in good_ones] == [[], [], [], []]
    bad_ones: list[object] = ["off", 0, {}, Half(), Whole]
    for telemetry in bad_ones:
        (found,) = observer_problems(telemetry, Whole)
        assert found.place == "telemetry"


# --- settings that would do nothing -------------------------------------------------------------


@pytest.mark.parametrize("policy", ["follow", "keep", "request"])
def test_a_session_belongs_to_its_policy(policy: str) -> None:
    assert affinities(policy=policy) == affinities(policy="session", session="2h") == []
    assert affinities(policy=policy, session="2h") == [
        f"rollout 'checkout', session: has no meaning under {policy}"
    ]


def test_the_life_of_a_claim_belongs_to_shared_affinity() -> None:
    for policy in ("follow", "keep"):
        assert affinities(policy=policy, affinity="shared", claim_life="7d") == []
        assert affinities(policy=policy, claim_life="7d") == [
            "rollout 'checkout', claim_life: has no meaning without shared affinity"
        ]
    assert affinities(policy="session", affinity="shared") == []
    assert affinities(policy="session", affinity="shared", session="2h", claim_life="7d") == [
        "rollout 'checkout', claim_life: has no meaning under session"
    ]


def test_the_cookie_has_room_for_few_pins() -> None:
    many = [Rollout(f"r{n}", "1", "2", paths=[f"/{n}"], policy="keep") for n in range(5)]
    (found,) = rollout_problems(many)
    assert "5 keep places in the cookie, which has room for 4" in found.message
    assert rollout_problems(many[:4]) == []
    shared = [replace(rollout, affinity="shared") for rollout in many]
    assert rollout_problems([*many[:4], *shared[4:]]) == []


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/checkout/*", "/checkout"), ("/checkout/{basket}", "/checkout"), ("/*", "/"),
        ("/a/b/<int:number>/c", "/a/b"), ("/checkout-*", "/"), ("/a//{b}", "/a"), ("/a*/{b}", "/"),
    ],
)  # fmt: skip
def test_a_pattern_is_answered_with_the_prefix_that_was_meant(path: str, meant: str) -> None:
    (found,) = rollout_problems([replace(GOOD, paths=[path])])
    assert found.hint == f"write {meant!r}, which covers everything below it"
