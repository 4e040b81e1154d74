"""Issue 2, item 2: one error tells of every mistake, and nothing was opened or started for it."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.sentinel import Sentinel

from canary_middleware import Audience, Canary, ConfigurationError, Ramp, Rollout
from canary_middleware.core.model import Reason, Rescue
from canary_middleware.stores import MemoryStore, StateStore
from canary_middleware.telemetry import Telemetry
from tests.engine.world import NONE, under

KEY = "k" * 32
CHECKOUT = Rollout("checkout", stable="1", canary="2")


def wrong(value: Any) -> Any:
    """A value of a type that no checker lets through."""
    return value


def places(*rollouts: Rollout, **arguments: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Canary(*(rollouts or (CHECKOUT,)), **{"secret_keys": [KEY], **arguments})
    assert all(problem.hint for problem in caught.value.problems)
    return [problem.place for problem in caught.value.problems]


def test_everything_at_once_with_place_and_hint() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Canary(
            Rollout("checkout", "1", "1", ramp=Ramp("101%", wrong(5))),
            Rollout("checkout", "1", "2", paths=["/a", "/a"], methods=wrong(None)),
            Rollout("search", "1", "2", rescue=Rescue(enabled=wrong("no"))),
            store="rediss:/localhost:1/0",
            secret_keys="sesame-open-sesame",
            identify=wrong("me"),
            vary="Authorization",
            secure=wrong("false"),
            overrides="header",
            max_staleness=wrong("60"),
            poll=120,
            kill_grace=0,
            drain=float("inf"),
            snapshot_path=wrong(5),
            autostart="5%",
            telemetry=wrong("off"),
            debug=wrong("false"),
            clock=wrong(5),
            wall=wrong(None),
        )
    assert [problem.place for problem in caught.value.problems] == [
        "rollout 'checkout'", "rollout 'checkout', canary", "rollout 'checkout', ramp",
        "rollout 'checkout', ramp", "rollout 'checkout', paths", "rollout 'checkout', methods",
        "rollout 'search', rescue, enabled", "namespace", "secret_keys", "identify",
        "bucket_secret", "vary", "secure", "overrides", "poll", "max_staleness", "kill_grace",
        "drain", "snapshot_path", "autostart", "telemetry", "debug", "clock", "wall", "store",
    ]  # fmt: skip
    assert "sesame" not in str(caught.value)


def test_it_reads_well_in_a_terminal() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Canary(
            Rollout("checkout", stable="1", canary="1", denied=Audience(["mallory"])),
            secret_keys=KEY,
            max_staleness=1,
            debug=wrong("false"),
        )
    assert (
        str(caught.value)
        == """\
5 configuration problems:
  - rollout 'checkout', canary: is the same as stable ('1')
    hint: a new version needs a new label
  - rollout 'checkout', denied: nobody can be one, for no visitor is identified
    hint: give Canary(identify=...)
  - secret_keys: is str, not a list
    hint: [key], or [old, new] while keys change
  - max_staleness: 1 s would pass while all is well, for the store is asked every 0.8 s
    hint: at least 2 * poll + 1, here 2.6
  - debug: 'false' is neither True nor False
    hint: write True or False"""
    )


@pytest.mark.parametrize(
    "store", [5, None, b"redis://localhost", [], object(), "", "redis", "foo://x", "redis://h:port"]
)
def test_what_is_no_store_is_told_with_the_rest(store: Any) -> None:
    assert places(store=store, namespace="shop", vary="X") == ["vary", "store"]


@pytest.mark.parametrize(
    ("telemetry", "found"),
    [
        (None, []), (True, []), (False, []), (Telemetry(), []),
        (Telemetry, ["telemetry"]), ("off", ["telemetry"]), (object(), ["telemetry"]),
    ],
)  # fmt: skip
def test_telemetry(telemetry: Any, found: list[str]) -> None:
    assert places(telemetry=telemetry, vary="X") == ["vary", *found]


@given(
    st.sampled_from(
        ["namespace", "store", "secret_keys", "bucket_secret", "identify", "vary", "secure",
         "max_staleness", "kill_grace", "drain", "poll", "first_load", "snapshot_path",
         "autostart", "telemetry", "debug", "clock", "wall"]
    ),
    st.one_of(
        st.booleans(), st.integers(), st.floats(), st.text(), st.binary(),
        st.lists(st.one_of(st.none(), st.integers(), st.text())),
    ),
)  # fmt: skip
def test_no_type_confuses_it(name: str, value: Any) -> None:
    """Every argument is either taken or refused with the others; never another exception."""
    assert "rollout 'checkout', canary" in places(Rollout("checkout", "1", "1"), **{name: value})


def test_the_directory_of_snapshots_is_made_but_not_what_it_stands_in(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert places(snapshot_path=tmp_path / "missing" / "state") == ["snapshot_path"]
    assert places(snapshot_path=str(tmp_path / "file")) == ["snapshot_path"]
    assert places(snapshot_path=b"state") == ["snapshot_path"]
    assert places(snapshot_path="x" * 5000) == ["snapshot_path"]
    for path in (tmp_path, str(tmp_path / "state"), "state", None):
        Canary(CHECKOUT, secret_keys=[KEY], snapshot_path=path)


def test_a_predicate_that_says_neither_yes_nor_no_is_an_error_and_stable() -> None:
    """A9, from the request's side: nobody becomes a tester by a text that is true."""
    rollout = replace(CHECKOUT, testers=Audience(predicate=wrong(lambda _: "no")))
    made = under(NONE, rollout, identify=lambda _: "alice")
    given = made.visit().expose("checkout")
    assert (given.reason, given.is_canary) == (Reason.ERROR, False)
    assert made.events() == {"error_audience": 1}


# --- what else the facade decides ---------------------------------------------------------------


class Base:
    """Its heirs are awaited, too."""

    async def __call__(self, _: object) -> str:
        return "ada"


class Who(Base):
    """An ``identify`` that is an object."""


@pytest.mark.parametrize(
    ("identify", "awaited"), [(Who(), True), (partial(Who()), True), (lambda _: "ada", False)]
)
def test_identify_is_awaited_where_it_has_to_be(
    identify: Callable[[object], Any], awaited: bool
) -> None:
    canary = Canary(CHECKOUT, secret_keys=[KEY], identify=identify, bucket_secret=KEY)
    assert canary.identify_is_async is awaited


@pytest.mark.parametrize(
    ("debug", "secure", "told"),
    [(True, True, 1), (True, "auto", 1), (True, False, 0), (False, True, 0)],
)
def test_debug_tells_once_that_a_secure_cookie_wants_tls(
    debug: bool, secure: Any, told: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "canary_middleware")
    canary = Canary(CHECKOUT, secret_keys=[KEY], debug=debug, secure=secure)
    canary.arrive_blocking()
    canary.arrive_blocking()
    warnings = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in warnings] == ["the visitor cookie is Secure"] * told


def test_debug_makes_up_a_key_and_nothing_else() -> None:
    Canary(CHECKOUT, debug=True)
    assert places(secret_keys=[], debug="false") == ["secret_keys", "debug"]


def test_a_wsgi_process_has_no_event_loop_in_it() -> None:
    code = "import sys, canary_middleware.wsgi; sys.exit('asyncio' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_shared_affinity_needs_a_store_that_keeps_claims(tmp_path: Path) -> None:
    shared = replace(CHECKOUT, affinity="shared")
    settings: dict[str, Any] = {"namespace": "shop", "secret_keys": [KEY]}
    for store in ("memory://", f"sqlite:///{tmp_path}/shop.db", MemoryStore()):
        Canary(shared, store=store, **settings).stop()
    bare = type(
        "Bare",
        (),
        {name: vars(MemoryStore)[name] for name in dir(StateStore) if name in vars(MemoryStore)},
    )
    Canary(CHECKOUT, store=bare(), **settings).stop()
    assert places(shared, store=bare(), **settings) == ["store"]
    replicas = Sentinel([("127.0.0.1", 1)]).slave_for("shop")
    assert places(shared, store=replicas, **settings) == ["store"]
