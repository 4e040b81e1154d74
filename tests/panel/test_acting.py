"""Verbs on behalf of a person: on every store, in every way in which they can be refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware import verbs
from canary_middleware.core.drill import Fault
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Verb
from canary_middleware.core.transitions import Command
from canary_middleware.errors import (
    CanaryError,
    NotPersistedError,
    StoreCorruptError,
    StoreUnavailableError,
    UnknownRolloutError,
    VerbRefusedError,
)
from canary_middleware.panel.acting import (
    VERBS,
    Action,
    BadInputError,
    Done,
    NotAllowedError,
    OutdatedError,
    UnconfirmedError,
    act,
    doubt,
    read,
    read_form,
    status_of,
)
from canary_middleware.panel.action import FIELDS
from canary_middleware.panel.failing import MEANINGS
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.site import ASKED_AT_ONCE, Site
from canary_middleware.stores import MemoryStore, StateStore, open_store
from tests.panel import stages
from tests.panel.stages import FITTING, REQUIRED
from tests.support.redis import SharedRedis

ALICE = Person("alice", Role.OPERATE)
BOB = Person("bob", Role.VIEW)
NAME = "checkout"


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(
    request: pytest.FixtureRequest, tmp_path: Path, shared_redis: SharedRedis, namespace: str
) -> Iterator[StateStore]:
    url = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/canary.db",
        "redis": shared_redis.url,
    }
    found = open_store(url[request.param], namespace, timeout=5)
    yield found
    found.close()


def done(
    store: StateStore,
    verb: str,
    rollout: str | None = NAME,
    values: Mapping[str, Any] | None = None,
    person: Person = ALICE,
) -> Done:
    """What came of it, in an event loop of its own."""
    action = read(verb, rollout, values or {})
    return anyio.run(act, Site(store, "shop"), person, "192.0.2.7", action)


@pytest.mark.parametrize("verb", VERBS)
def test_is_done_on_every_store_and_in_the_trail(store: StateStore, verb: str) -> None:
    stage, values, phase = FITTING[verb]
    stage(store, NAME)
    found = done(store, verb, values={"why": "as agreed", **values})
    assert found.lines
    assert all(line and "\n" not in line for line in found.lines)
    entry = found.document.rollouts[NAME].entries["1.5.0"]
    assert entry.phase.value == phase
    assert store.load().document == found.document
    (line,) = store.history(None, 1)
    assert (line.by, line.action) == ("alice (panel, from 192.0.2.7)", verb)
    assert line.why == values.get("why", "as agreed")


@pytest.mark.parametrize("verb", VERBS)
def test_changes_nothing_for_who_only_views(verb: str) -> None:
    store = MemoryStore()
    stage, values, _ = FITTING[verb]
    stage(store, NAME)
    before = store.load()
    with pytest.raises(NotAllowedError, match="bob may look"):
        done(store, verb, values=values, person=BOB)
    assert store.load() == before


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "kill"])
def test_is_refused_where_it_does_not_fit(store: StateStore, verb: str) -> None:
    stages.rolled_back(store, NAME)
    before = store.load()
    with pytest.raises(VerbRefusedError) as caught:
        done(store, verb, values=REQUIRED.get(verb))
    failure = status_of(caught.value)
    assert (failure.status, failure.code) == (409, "refused")
    assert failure.message.startswith(NAME)
    assert failure.hint not in failure.message or not failure.hint
    assert store.load() == before


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "kill"])
def test_says_which_rollouts_there_are_where_there_is_no_such(verb: str) -> None:
    store = MemoryStore()
    stages.paused(store, "search")
    with pytest.raises(UnknownRolloutError) as caught:
        done(store, verb, "serach", REQUIRED.get(verb))
    assert status_of(caught.value).status == 404
    assert "known are: search" in status_of(caught.value).hint
    with pytest.raises(UnknownRolloutError, match="nothing is known there"):
        done(MemoryStore(), verb, "serach", REQUIRED.get(verb))


def test_a_kill_of_what_nobody_knows_is_struck_and_says_so() -> None:
    store = MemoryStore()
    stages.paused(store, "search")
    found = done(store, "kill", "serach")
    assert "serach" in found.document.kills
    assert "did you mean search?" in found.warnings[0]
    assert found.lines[0].startswith("killed serach, but nobody was moved: no process declares")
    assert found.shape["known"] is False


def test_a_kill_of_everything_names_what_it_hit() -> None:
    store = MemoryStore()
    stages.paused(store, "search")
    stages.promoted(store, NAME)
    found = done(store, "kill", None)
    expected = "killed everything: checkout is back on 1.4.2, search is back on 1.4.2"
    assert found.lines == (expected,)
    assert found.shape["kills"] == ["*"]
    revived = done(store, "revive", None)
    assert revived.lines[0] == "revived everything"
    assert len(revived.lines) == 3


def test_a_revival_tells_of_kills_that_stay() -> None:
    store = MemoryStore()
    stages.killed(store, NAME)
    verbs.kill(store, by="test")
    found = done(store, "revive", None)
    assert found.warnings == (f"still killed: {NAME}",)
    assert found.lines == ("revived everything",)


def test_no_revival_lifts_a_kill_file() -> None:
    store = MemoryStore()
    stages.killed(store, NAME)
    store.report(ProcessReport("p", "web-9", 1, "wsgi", -1, None, {}, kill_file=""))
    file = "its kill file shop.kill in its snapshot_path: remove it there"
    told = f"host web-9 stays killed by {file}"
    found = done(store, "revive", NAME)
    assert (found.warnings, found.shape["kill_files"]) == ((told,), ["web-9"])
    with pytest.raises(VerbRefusedError) as caught:
        done(store, "revive", NAME)
    assert told in caught.value.hint


def test_a_kill_needs_no_readable_state(shared_redis: SharedRedis, namespace: str) -> None:
    store = open_store(shared_redis.url, namespace, timeout=5)
    with shared_redis.client() as client:
        client.set(f"canary:{{{namespace}}}:state", "none of ours")
        with pytest.raises(StoreCorruptError) as caught:
            done(store, "revive", None)
        assert "a kill works" in status_of(caught.value).hint
        found = done(store, "kill", NAME, {"why": "anything"})
        assert found.warnings == ("the state was unreadable, so everything was killed instead",)
        assert found.lines[0].startswith("killed everything")
        assert store.load().kill_key is not None
        client.delete(f"canary:{{{namespace}}}:state", f"canary:{{{namespace}}}:kill")
    store.close()


def test_a_kill_waits_for_no_question_that_hangs() -> None:
    store = MemoryStore()
    stages.paused(store, NAME)
    site, free = Site(store, "shop"), threading.Event()

    async def flooded() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(2 * ASKED_AT_ONCE):
                group.start_soon(site.ask, free.wait)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(20):
                await act(site, ALICE, "", read("kill", None, {}))
            free.set()

    try:
        anyio.run(flooded)
    finally:
        free.set()
    assert "*" in verbs.status(store).kills


# --- what was seen ------------------------------------------------------------------------------


def test_is_refused_after_somebody_else_has_changed_the_rollout(store: StateStore) -> None:
    stages.ramping(store, NAME)
    seen = verbs.status(store).document
    assert seen is not None
    verbs.pause(store, NAME, by="carol")
    with pytest.raises(OutdatedError, match="carol did `pause` meanwhile") as caught:
        done(store, "weight", values={"weight": "50%", "if_revision": seen.revision})
    assert status_of(caught.value).code == "outdated"
    now = store.load().document
    assert now is not None
    assert now.revision == seen.revision + 1
    done(store, "weight", values={"weight": "50%", "if_revision": now.revision})


def by_controller(store: StateStore, verb: Verb, why: str) -> None:
    before = store.load().document
    assert before is not None
    entry = before.rollouts[NAME].entries[before.rollouts[NAME].current or ""]
    command = Command(verb, NAME, why, release=entry.release, step=entry.step, stopped="gate")
    assert verbs.move(store, before, command, by="agent", evidence={}, now=1.0) is not None


def test_minds_nothing_that_moves_nobody_however_often_it_is_said(store: StateStore) -> None:
    stages.ramping(store, NAME)
    by_controller(store, Verb.HOLD, "its gate has not answered")
    seen = verbs.status(store).document
    assert seen is not None
    for number in range(30):
        by_controller(store, Verb.HOLD, f"its gate: freeze {number}")
        by_controller(store, Verb.NOTE, f"would have been held {number}")
    done(store, "pause", values={"if_revision": seen.revision})


def test_minds_what_happened_before_much_that_moves_nobody(store: StateStore) -> None:
    stages.ramping(store, NAME)
    seen = verbs.status(store).document
    assert seen is not None
    by_controller(store, Verb.HOLD, "its gate has not answered")
    for number in range(30):
        by_controller(store, Verb.NOTE, f"would have been held {number}")
    with pytest.raises(OutdatedError, match="agent did `hold` meanwhile"):
        done(store, "pause", values={"if_revision": seen.revision})


def test_minds_no_change_of_another_rollout(store: StateStore) -> None:
    stages.ramping(store, NAME)
    seen = verbs.status(store).document
    assert seen is not None
    stages.paused(store, "search")
    stages.declared(store, NAME)
    assert done(store, "pause", values={"if_revision": seen.revision}).document.revision > 2


def test_minds_a_kill_of_everything(store: StateStore) -> None:
    stages.paused(store, NAME)
    verbs.kill(store, by="carol")
    verbs.revive(store, by="carol")
    with pytest.raises(OutdatedError, match="carol did `revive` meanwhile"):
        done(store, "resume", values={"if_revision": 1})


def test_minds_a_state_that_began_anew() -> None:
    store = MemoryStore()
    stages.paused(store, NAME)
    with pytest.raises(OutdatedError, match="another one"):
        done(store, "resume", values={"if_revision": 1_000})


def test_of_many_who_saw_the_same_one_wins(store: StateStore) -> None:
    stages.ramping(store, NAME)
    seen = verbs.status(store).document
    assert seen is not None
    site, won, lost = Site(store, "shop"), [], []

    async def one(weight: int) -> None:
        values = {"weight": f"{weight}%", "if_revision": seen.revision}
        try:
            won.append(await act(site, ALICE, "", read("weight", NAME, values)))
        except OutdatedError as error:
            lost.append(error)

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for weight in range(10, 16):
                group.start_soon(one, weight)

    anyio.run(all_at_once)
    assert (len(won), len(lost)) == (1, 5)
    assert [line.action for line in store.history(NAME, 9)] == ["weight", "start"]


# --- what has to be meant -----------------------------------------------------------------------


def test_a_promotion_without_evidence_has_to_be_meant() -> None:
    store = MemoryStore()
    stages.paused(store, NAME)
    with pytest.raises(UnconfirmedError, match="the evidence does not speak for it") as caught:
        done(store, "promote")
    assert status_of(caught.value).code == "unconfirmed"
    assert "anyway" in status_of(caught.value).hint
    assert doubt(store, read("promote", NAME, {})) == status_of(caught.value).message
    assert done(store, "promote", values={"anyway": True}).lines[0].startswith("checkout: promoted")


def test_reads_the_evidence_also_for_who_says_what_they_saw(store: StateStore) -> None:
    stages.paused(store, NAME)
    now = store.load().document
    assert now is not None
    with pytest.raises(UnconfirmedError) as plain:
        done(store, "promote")
    with pytest.raises(UnconfirmedError) as caught:
        done(store, "promote", values={"if_revision": now.revision})
    assert str(caught.value) == str(plain.value)


@pytest.mark.parametrize("verb", ["rollback", "weight"])
def test_going_back_to_a_stable_that_is_away_has_to_be_meant(verb: str) -> None:
    store = MemoryStore()
    stages.paused(store, NAME)
    silent = ProcessReport(
        f"p-{NAME}", "web-1", 1, "asgi", 1, 0.1, {NAME: stages.PLAN},
        silent=((NAME, "1.4.2", "it said 503"),),
    )  # fmt: skip
    store.report(silent)
    values = {"weight": "1%"} if verb == "weight" else {}
    with pytest.raises(UnconfirmedError, match="does not answer its probe"):
        done(store, verb, values=values)
    assert done(store, verb, values={**values, "anyway": True}).lines
    # Nobody is sent back by more, and no kill asks.
    assert done(store, "kill", values={}).warnings[0].startswith("checkout: 1.4.2 does not answer")


# --- what cannot be read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "values", "place"),
    [
        ("weight", {"weight": 5}, "weight"),
        ("weight", {"weight": "5"}, "weight"),
        ("weight", {"weight": "101%"}, "weight"),
        ("weight", {"weight": ["5%"]}, "weight"),
        ("weight", {}, "weight"),
        ("start", {"again": "yes"}, "again"),
        ("start", {"release": ""}, "release"),
        ("start", {"release": "1\n2"}, "release"),
        ("start", {"release": "x" * 201}, "release"),
        ("start", {"release": "\ud800"}, "release"),
        ("start", {"weight": None}, "weight"),
        ("pause", {"why": "x" * 501}, "why"),
        ("pause", {"why": {"deep": {}}}, "why"),
        ("pause", {"weight": "5%"}, "weight"),
        ("pause", {"csrf": "x"}, "csrf"),
        ("pause", {"if_revision": True}, "if_revision"),
        ("pause", {"if_revision": -1}, "if_revision"),
        ("pause", {"if_revision": 1.0}, "if_revision"),
        ("pause", {"if_revision": "1"}, "if_revision"),
        ("kill", {"rollout": "checkout"}, "rollout"),
        ("drill", {}, "fault"),
        ("drill", {"fault": "fire"}, "fault"),
        ("drill", {"fault": "error", "share": "0%"}, "share"),
        ("drill", {"fault": "error", "for": "2h"}, "for"),
        ("drill", {"fault": "latency", "delay": "2h"}, "delay"),
        ("drill", {"fault": "events"}, "metric"),
        ("drill", {"fault": "error", "metric": "orders"}, "metric"),
        ("drill", {"fault": "events", "metric": "orders", "value": -1}, "value"),
        ("drill", {"fault": "events", "metric": "orders", "value": float("inf")}, "value"),
        ("drill", {"fault": "events", "metric": "orders", "value": True}, "value"),
    ],
)
def test_says_what_cannot_be_read(verb: str, values: Mapping[str, Any], place: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read(verb, NAME, values)
    assert [one.place for one in caught.value.problems] == [place]
    assert all(one.message for one in caught.value.problems)
    assert status_of(caught.value).status == 422


def test_says_everything_at_once_and_what_may_have_been_meant() -> None:
    with pytest.raises(BadInputError) as caught:
        read("weight", NAME, {"wieght": "5%", "why": 3})
    assert [one.place for one in caught.value.problems] == ["wieght", "why", "weight"]
    assert caught.value.problems[0].hint == "weight?"


def test_says_only_so_much() -> None:
    with pytest.raises(BadInputError) as caught:
        read("pause", NAME, {f"field{at}": at for at in range(10_000)})
    assert len(caught.value.problems) == 10
    assert len(str(caught.value)) < 1_000


@given(
    st.sampled_from([*VERBS]),
    st.dictionaries(
        st.sampled_from([*FIELDS, "x"]),
        st.one_of(
            st.none(), st.booleans(), st.integers(), st.floats(), st.text(),
            st.lists(st.integers()), st.from_regex(r"-?[0-9.eE+-]{1,30}(%|s|ms|m|h)"),
        ),
    ),
)  # fmt: skip
def test_whatever_comes_is_an_action_or_refused_in_words(
    verb: str, values: dict[str, object]
) -> None:
    pairs = [
        (name, value if isinstance(value, list) else str(value)) for name, value in values.items()
    ]
    for found in (tried(read, verb, values), tried(read_form, verb, pairs)):
        if isinstance(found, Action):
            assert found.verb == verb
            assert found.weight is None or 0 <= found.weight <= 100_000
        else:
            assert status_of(found).message.isprintable()


def tried(reader: Callable[..., Action], verb: str, values: object) -> Action | BadInputError:
    try:
        return reader(verb, NAME, values)
    except BadInputError as error:
        return error


@pytest.mark.parametrize("name", ["", "a b", "../etc", "x" * 65, "é", "a\n", "*"])
def test_no_name_is_a_name(name: str) -> None:
    for verb in VERBS:
        with pytest.raises(UnknownRolloutError):
            read(verb, name, REQUIRED.get(verb, {}))


def test_no_kill_fails_for_a_long_reason() -> None:
    assert read("kill", None, {"why": "x" * 5_000}).why == "x" * 500


def test_reads_forms() -> None:
    pairs = [
        ("why", "good"),
        ("weight", "5%"),
        ("release", ""),
        ("if_revision", "7"),
        ("anyway", "1"),
    ]
    action = read_form("weight", NAME, pairs)
    assert (action.weight, action.release, action.if_revision) == (5_000, None, 7)
    assert action.anyway
    assert not read_form("start", NAME, [("again", "")]).again
    drill = [("fault", "events"), ("metric", "orders"), ("value", "2.5"), ("for", "30s")]
    found = read_form("drill", NAME, drill).drill
    assert found is not None
    assert (found.fault, found.value, found.seconds) == (Fault.EVENTS, 2.5, 30)


@pytest.mark.parametrize(
    "pairs",
    [
        [("weight", "5%"), ("weight", "100%")],
        [("weight", "5%"), ("anyway", "perhaps")],
        [("weight", "5%"), ("if_revision", "1e3")],
        [("weight", "5%"), ("if_revision", "²")],
        [("weight", "5%"), ("who", "me")],
        [("weight", b"5%")],
        [("weight", "")],
    ],
)
def test_refuses_forms(pairs: list[tuple[str, object]]) -> None:
    with pytest.raises(BadInputError):
        read_form("weight", NAME, pairs)


@pytest.mark.parametrize("value", ["nan", "inf", "x", "1e999"])
def test_refuses_numbers_of_forms_that_are_none(value: str) -> None:
    with pytest.raises(BadInputError):
        read_form("drill", NAME, [("fault", "events"), ("metric", "orders"), ("value", value)])


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotPersistedError("told, not kept"), 507, "not_persisted"),
        (StoreCorruptError("what is that"), 503, "unreadable"),
        (StoreUnavailableError("refused"), 503, "store_unavailable"),
        (CanaryError("anything"), 500, "failed"),
    ],
)
def test_every_error_has_a_status(error: CanaryError, status: int, code: str) -> None:
    failure = status_of(error)
    assert (failure.status, failure.code, failure.message) == (status, code, str(error))


def test_the_first_meaning_that_fits_is_the_narrowest() -> None:
    kinds = [one.kind for one in MEANINGS]
    for at, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:at]), kind


def test_no_message_begins_a_line_of_its_own() -> None:
    failure = status_of(VerbRefusedError("a\nb\x1b[31m", hint="c\rd"))
    assert failure.message == "a\\nb\\x1b[31m"
    assert failure.hint == "c\\rd"
