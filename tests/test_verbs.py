from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from canary_middleware import verbs
from canary_middleware.core.records import Audit, ProcessReport
from canary_middleware.core.state import EVERYTHING, Document, Entry, Phase, Plan
from canary_middleware.errors import StoreCorruptError, StoreUnavailableError, VerbRefusedError
from canary_middleware.stores import MemoryStore, StateStore, open_store
from canary_middleware.stores.protocol import Key
from tests.support.redis import SharedRedis

PLAN = Plan("1", "2", steps=(1_000, 5_000))


def report(name: str, plan: Plan = PLAN, revision: int = 0) -> ProcessReport:
    return ProcessReport(name, "host", 7, "asgi", revision, 0.1, {"checkout": plan})


def entry(document: Document, release: str = "2") -> Entry:
    found = document.entry("checkout", release)
    assert found is not None
    return found


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_start_creates_the_state_and_learns_the_plan_from_the_processes(store: MemoryStore) -> None:
    store.report(report("p"))
    document = verbs.start(store, "checkout", by="me", why="off we go")
    assert store.load().document == document
    assert entry(document).plan == PLAN
    assert (entry(document).phase, entry(document).weight) == (Phase.RAMPING, 1_000)
    assert store.history(None, 9) == [
        Audit(
            entry(document).since, "me", "start", "checkout", "idle", "2 ramping 1%", "off we go", 1
        )
    ]


def test_start_is_refused_when_nobody_declares_it(store: MemoryStore) -> None:
    with pytest.raises(VerbRefusedError, match="no process reports"):
        verbs.start(store, "checkout", by="me")
    store.report(report("p"))
    with pytest.raises(VerbRefusedError, match="declared are: checkout"):
        verbs.start(store, "chekout", by="me")
    with pytest.raises(VerbRefusedError, match=r"release 9.*declared are: 2"):
        verbs.start(store, "checkout", by="me", release="9")
    assert store.load().document is None


def test_start_asks_which_of_several_releases(store: MemoryStore) -> None:
    store.report(report("p"))
    store.report(report("q", replace(PLAN, canary="3")))
    with pytest.raises(VerbRefusedError, match=r"2, 3.*--release 3"):
        verbs.start(store, "checkout", by="me")
    document = verbs.start(store, "checkout", by="me", release="2", weight=7)
    assert (entry(document).phase, entry(document).weight) == (Phase.PAUSED, 7)


def test_a_release_goes_its_way(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    phases = []
    steps: list[Callable[[], Document]] = [
        lambda: verbs.weight(store, "checkout", 2_000, by="me"),
        lambda: verbs.resume(store, "checkout", by="me"),
        lambda: verbs.pause(store, "checkout", by="me"),
        lambda: verbs.promote(store, "checkout", by="me"),
        lambda: verbs.finish(store, "checkout", by="me", early=True),
    ]
    for step in steps:
        document = step()
        phases.append((entry(document).phase.value, entry(document).weight))
    assert phases == [
        ("paused", 2_000),
        ("ramping", 5_000),
        ("paused", 5_000),
        ("promoted", 100_000),
        ("finished", 100_000),
    ]
    history = [(audit.old, audit.new) for audit in verbs.history(store, "checkout", 2)]
    assert history == [
        ("2 promoted 100%", "2 finished 100%"),
        ("2 paused 5%", "2 promoted 100%"),
    ]


def declare(store: MemoryStore, name: str, **changes: Any) -> None:
    store.report(report(name, replace(PLAN, **changes)))


def test_rebase_learns_the_label_from_the_processes(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    declare(store, "old")
    declare(store, "other release", canary="3", stable="0.9")
    with pytest.raises(VerbRefusedError, match=r"of 2 declares another than 1 .*declared are: 1\)"):
        verbs.rebase(store, "checkout", by="me")
    declare(store, "new", stable="1a")
    document = verbs.rebase(store, "checkout", by="me", why="hot-fix")
    assert (entry(document).stable, entry(document).weight) == ("1a", 1_000)
    audit = verbs.history(store)[0]
    assert (audit.action, audit.old, audit.new) == ("rebase", "2 stable 1", "2 stable 1a")
    declare(store, "newer", stable="1b")
    with pytest.raises(VerbRefusedError, match=r"declare several: 1, 1a, 1b .*--stable 1b"):
        verbs.rebase(store, "checkout", by="me")
    with pytest.raises(VerbRefusedError, match="declares 1c as its stable version"):
        verbs.rebase(store, "checkout", by="me", stable="1c")
    with pytest.raises(VerbRefusedError, match="1a is its stable version already"):
        verbs.rebase(store, "checkout", by="me", stable="1a")
    assert entry(verbs.rebase(store, "checkout", by="me", stable="1b")).plan.stable == "1b"


def test_rebase_says_what_fits_where_it_does_not(store: MemoryStore) -> None:
    declare(store, "new", stable="1a")
    with pytest.raises(VerbRefusedError, match="canary start checkout"):
        verbs.rebase(store, "checkout", by="me")
    verbs.start(store, "checkout", by="me", plan=PLAN)
    verbs.promote(store, "checkout", by="me")
    with pytest.raises(VerbRefusedError, match="2 is promoted"):
        verbs.rebase(store, "checkout", by="me")


def test_status_names_who_declares_something_else(store: MemoryStore) -> None:
    declare(store, "before any start")
    assert verbs.status(store).odd == ()
    verbs.start(store, "checkout", by="me", plan=PLAN)
    declare(store, "fix", stable="1a")
    declare(store, "fix too", stable="1a")
    declare(store, "next", canary="3")
    store.report(report("plan", replace(PLAN, steps=(9_000,), paths=("/a", "/b"), session=90)))
    store.report(report("scope", replace(PLAN, paths=("/c",), methods=("GET",), exclude=())))
    found = verbs.status(store).odd
    assert [([process.id for process in odd.processes], odd.command) for odd in found] == [
        (["fix", "fix too"], "canary rebase checkout --stable 1a"),
        (["next"], None),
        (["plan"], None),
    ]
    assert [[str(one) for one in odd.differs] for odd in found] == [
        ["stable 1a (in force: 1)"],
        ["release 3 (in force: 2)"],
        [
            "steps 9% (in force: 1%, 5%)",
            "session 90s (in force: 30m)",
        ],
    ]


def test_what_is_in_scope_is_told_and_never_odd(store: MemoryStore) -> None:
    declare(store, "web")
    declare(store, "web too")
    verbs.start(store, "checkout", by="me")
    assert verbs.status(store).scopes == ()
    store.report(report("orders", replace(PLAN, paths=("/orders",), methods=("POST",))))
    declare(store, "next", canary="3", paths=("/new",))
    found = verbs.status(store)
    assert [str(one) for odd in found.odd for one in odd.differs] == ["release 3 (in force: 2)"]
    assert [([p.id for p in one.processes], str(one)) for one in found.scopes] == [
        (["web", "web too"], "paths /"),
        (["orders"], "paths /orders; methods POST"),
    ]


def test_status_does_not_propose_to_undo_a_rebase(store: MemoryStore) -> None:
    declare(store, "old")
    verbs.start(store, "checkout", by="me")
    declare(store, "new", stable="1a")
    (odd,) = verbs.status(store).odd
    assert (odd.command, odd.replaced) == ("canary rebase checkout --stable 1a", False)
    verbs.rebase(store, "checkout", by="me")
    (odd,) = verbs.status(store).odd
    assert [process.id for process in odd.processes] == ["old"]
    assert (odd.command, odd.replaced) == (None, True)
    # The hot-fix was taken back: nobody serves the label in force.
    store.withdraw("new")
    (odd,) = verbs.status(store).odd
    assert (odd.command, odd.replaced) == ("canary rebase checkout --stable 1", False)


def test_a_rolled_back_release_below_the_current_one_is_told(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    verbs.promote(store, "checkout", by="me")
    verbs.start(store, "checkout", by="me", plan=replace(PLAN, stable="2", canary="3"))
    assert not verbs.status(store).rollouts[0].stable_rolled_back
    verbs.rollback(store, "checkout", by="me", release="2")
    assert verbs.status(store).rollouts[0].stable_rolled_back


def test_rollback_needs_acknowledgement(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    assert entry(verbs.rollback(store, "checkout", by="me", why="no")).phase is Phase.ROLLED_BACK
    with pytest.raises(VerbRefusedError, match="--again"):
        verbs.start(store, "checkout", by="me", plan=PLAN)
    again = verbs.start(store, "checkout", by="me", plan=PLAN, again=True)
    assert entry(again).phase is Phase.RAMPING


def test_kill_and_revive(store: MemoryStore) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    killed = verbs.kill(store, by="me", why="two\nlines \x1b[2J")
    assert killed.kills[EVERYTHING].why == "two lines  [2J"
    with pytest.raises(VerbRefusedError, match="`canary revive` first"):
        verbs.weight(store, "checkout", 1, by="me")
    revived = verbs.revive(store, by="me", why="fixed")
    assert (revived.kills, entry(revived).phase) == ({}, Phase.PAUSED)
    audit = verbs.history(store)[0]
    assert (audit.action, audit.scope, audit.old, audit.new) == ("revive", "*", "killed", "revived")


@pytest.mark.parametrize("scope", ["", "two\nlines", "caf\u00ad", 'a"b\\c', "x" * 1_100, "*x"])
def test_what_is_no_name_is_refused_and_spoils_nothing(store: MemoryStore, scope: str) -> None:
    verbs.start(store, "checkout", by="me", plan=PLAN)
    before = store.load()
    with pytest.raises(VerbRefusedError, match="letters, digits"):
        verbs.kill(store, scope, by="me")
    with pytest.raises(VerbRefusedError, match="letters, digits"):
        verbs.start(store, scope, by="me", plan=PLAN)
    assert store.load() == before
    assert EVERYTHING in verbs.kill(store, "*", by="me").kills


class Contended(MemoryStore):
    """A store in which somebody else is faster, a number of times."""

    def __init__(self, races: int) -> None:
        super().__init__()
        self.races = races

    def swap(
        self, expected: Key | None, new: Document, audit: Audit, *, clears: str | None = None
    ) -> bool:
        if self.races:
            self.races -= 1
            self.kill("search", by="faster", why="", now=1.0)
        return super().swap(expected, new, audit, clears=clears)


def test_a_verb_looks_again_after_a_lost_race() -> None:
    store = Contended(races=verbs.ATTEMPTS - 1)
    document = verbs.start(store, "checkout", by="me", plan=PLAN)
    assert document.revision == verbs.ATTEMPTS
    assert document.kills["search"].by == "faster"


def test_a_verb_gives_up_in_the_end() -> None:
    with pytest.raises(StoreUnavailableError, match="races"):
        verbs.start(Contended(races=99), "checkout", by="me", plan=PLAN)


def test_status_of_an_empty_store(store: MemoryStore) -> None:
    assert verbs.status(store) == verbs.Status(None, None, {}, (), (), (), ())


def test_status_tells_everything(store: MemoryStore) -> None:
    store.report(report("p", revision=1))
    store.report(report("q", replace(PLAN, canary="3"), revision=2))
    store.report(replace(report("r"), plans={"search": Plan("a", "b")}))
    verbs.start(store, "checkout", by="me", release="2")
    verbs.kill(store, "checkout", by="me", why="smoke")
    status = verbs.status(store)
    assert status.document is not None
    assert [(r.name, r.current and r.current.release) for r in status.rollouts] == [
        ("checkout", "2")
    ]
    killed = status.rollouts[0].killed
    assert killed is not None
    assert killed.why == "smoke"
    assert {process.id: status.behind(process) for process in status.processes} == {
        "p": True,
        "q": False,
        "r": True,
    }
    assert [waiting.command for waiting in status.waiting] == [
        "canary start checkout --release 3",
        "canary start search",
    ]


def test_whoami_names_user_and_host() -> None:
    user, at, host = verbs.whoami().partition("@")
    assert user
    assert at
    assert host


@pytest.fixture
def shared(shared_redis: SharedRedis, namespace: str) -> StateStore:
    return open_store(shared_redis.url, namespace, timeout=5.0)


def test_the_plain_kill_key_counts_with_no_process_running(
    shared: StateStore, shared_redis: SharedRedis, namespace: str
) -> None:
    with shared_redis.client() as client:
        key = f"canary:{{{namespace}}}:kill"
        client.set(key, "smoke")
        with pytest.raises(VerbRefusedError, match="killed"):
            verbs.start(shared, "checkout", by="me", plan=PLAN)
        status = verbs.status(shared)
        assert (status.kill_key, status.kills[EVERYTHING].by) == ("smoke", "kill key")
        revived = verbs.revive(shared, by="me")
        assert (revived.kills, revived.lifted) == ({}, {EVERYTHING: 1})
        assert not client.exists(key)
    verbs.start(shared, "checkout", by="me", plan=PLAN)


def test_a_kill_key_set_during_a_revive_is_not_lifted(
    shared: StateStore, shared_redis: SharedRedis, namespace: str
) -> None:
    verbs.kill(shared, by="me", why="one")
    with shared_redis.client() as client:
        key = f"canary:{{{namespace}}}:kill"
        client.set(key, "two")
        loaded = shared.load()
        client.set(key, "three")
        assert loaded.document is not None
        audit = Audit(1.0, "me", "revive", EVERYTHING, "", "", "", 2)
        lifted = replace(loaded.document, revision=2, kills={})
        assert not shared.swap(loaded.document.key, lifted, audit, clears=loaded.kill_key)
        assert client.get(key) == "three"


def test_garbage_is_told_to_who_asks(
    shared: StateStore, shared_redis: SharedRedis, namespace: str
) -> None:
    with shared_redis.client() as client:
        client.set(f"canary:{{{namespace}}}:state", "garbage")
    ask: Callable[[], object]
    for ask in (
        lambda: verbs.status(shared),
        lambda: verbs.start(shared, "checkout", by="me", plan=PLAN),
    ):
        with pytest.raises(StoreCorruptError, match="is a string"):
            ask()
    assert EVERYTHING in verbs.kill(shared, by="me").kills


def test_concurrent_verbs_all_count(shared_redis: SharedRedis, namespace: str) -> None:
    def work(number: int) -> None:
        store = open_store(shared_redis.url, namespace, timeout=5.0)
        verbs.start(store, f"r{number}", by="me", plan=PLAN)
        verbs.kill(store, f"r{number}", by="me")
        store.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = open_store(shared_redis.url, namespace, timeout=5.0)
    document = store.load().document
    assert document is not None
    assert document.revision == 8
    assert set(document.kills) == set(document.rollouts) == {f"r{n}" for n in range(4)}
    with redis.Redis.from_url(shared_redis.url) as client:
        assert client.llen(f"canary:{{{namespace}}}:audit") == 8
