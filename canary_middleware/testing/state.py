"""What every store of the control state promises."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import EVERYTHING, Verb
from canary_middleware.core.transitions import Command, apply, strike
from canary_middleware.stores.protocol import Remembering, StateStore
from canary_middleware.testing.contract import (
    PLAN,
    Contract,
    Opener,
    audit,
    receive,
    started,
)


class StoreContract(Contract):
    """See :class:`~canary_middleware.stores.protocol.StateStore`."""

    def test_an_untouched_store_is_empty(self, store: StateStore) -> None:
        loaded = store.load()
        assert (loaded.document, loaded.kill_key, loaded.corrupt) == (None, None, None)
        assert store.history(None, 10) == []
        assert store.processes() == []

    def test_swap_writes_what_load_reads(self, view: Opener) -> None:
        document = strike(started(), "checkout", by="é", why="“quoted” \\ / *", now=6.25)
        assert view().swap(None, document, audit(document))
        assert view().load().document == document

    def test_swap_needs_the_very_document_that_was_loaded(self, store: StateStore) -> None:
        first = started()
        second = strike(first, EVERYTHING, by="me", why="", now=6.0)
        assert not store.swap(first.key, second, audit(second)), "there is none yet"
        assert store.swap(None, first, audit(first))
        assert not store.swap(None, second, audit(second)), "there is one"
        assert not store.swap((first.lineage, 7), second, audit(second)), "other revision"
        assert not store.swap(("cd34", 1), second, audit(second)), "other lineage"
        assert store.load().document == first
        assert store.swap(first.key, second, audit(second))
        assert store.load().document == second
        assert [entry.revision for entry in store.history(None, 10)] == [2, 1]

    def test_swap_leaves_no_lifted_kill_behind(self, store: StateStore) -> None:
        killed = strike(strike(started(), EVERYTHING, by="a", why="", now=1.0), "x", by="b", why="",
                        now=1.0)  # fmt: skip
        revived = apply(killed, Command(Verb.REVIVE, EVERYTHING), 2.0)
        assert store.swap(None, killed, audit(killed))
        assert store.swap(killed.key, revived, audit(revived))
        assert store.load().document == revived

    def test_one_of_many_swaps_wins(self, view: Opener) -> None:
        first = started()
        assert view().swap(None, first, audit(first))
        stores = [view() for _ in range(8)]
        wins: list[str] = []
        line = threading.Barrier(8)

        def race(number: int) -> None:
            mine = strike(first, f"r{number}", by="me", why="", now=1.0)
            line.wait()
            if stores[number].swap(first.key, mine, audit(mine)):
                wins.append(f"r{number}")

        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        document = view().load().document
        assert document is not None
        assert list(document.kills) == wins

    def test_kill_needs_no_state(self, store: StateStore) -> None:
        struck = store.kill(EVERYTHING, by="me", why='"it" burns', now=7.25)
        assert store.load().document == struck
        kill = struck.kills[EVERYTHING]
        assert (kill.by, kill.why, kill.at, kill.revision) == ("me", '"it" burns', 7.25, 1)
        assert struck.rollouts == {}

    def test_kill_is_never_lost_to_a_swap(self, store: StateStore) -> None:
        first = started()
        assert store.swap(None, first, audit(first))
        struck = store.kill("checkout", by="me", why="", now=7.0)
        assert struck == strike(first, "checkout", by="me", why="", now=7.0)
        late = apply(first, Command(Verb.PAUSE, "checkout"), 8.0)
        assert not store.swap(first.key, late, audit(late))
        assert store.load().document == struck

    def test_a_second_kill_renews_the_first(self, store: StateStore) -> None:
        store.kill(EVERYTHING, by="a", why="one", now=1.0)
        store.kill(EVERYTHING, by="b", why="two", now=2.0)
        document = store.load().document
        assert document is not None
        assert (document.kills[EVERYTHING].by, document.kills[EVERYTHING].revision) == ("b", 2)

    def test_pushes_carry_the_whole_state(self, view: Opener) -> None:
        store, first = view(), started()
        with view().listen() as subscription:
            # A subscription may take a moment; what is pushed before it stands is not promised.
            assert subscription.receive(0.1) is None
            assert store.swap(None, first, audit(first))
            assert receive(subscription) == first
            struck = store.kill(EVERYTHING, by="me", why="", now=7.0)
            assert receive(subscription) == struck
            assert subscription.receive(0.01) is None

    def test_history_keeps_the_evidence(self, store: StateStore) -> None:
        document = started()
        guards = [{"guard": f"errors-{n}", "log_e": n / 7, "words": "é" * 5_000} for n in range(2)]
        kept = {"decision": "rollback", "proven": False, "requests": None, "guards": guards}
        line = replace(audit(document), action="rollback", evidence=kept)
        assert store.swap(None, document, line)
        assert store.history("checkout", 1) == [line]

    def test_history_is_newest_first_filtered_and_limited(self, store: StateStore) -> None:
        document = started()
        assert store.swap(None, document, audit(document))
        for number in range(3):
            store.kill("search", by="me", why=str(number), now=7.0)
        entries = store.history("search", 2)
        assert [(e.action, e.why, e.revision) for e in entries] == [
            ("kill", "2", 4),
            ("kill", "1", 3),
        ]
        assert store.history("checkout", 9) == [audit(document)]
        assert len(store.history(None, 9)) == 4

    def test_reports_come_back_with_the_clock_of_the_store(self, store: StateStore) -> None:
        report = ProcessReport("p1", "host", 7, "asgi", 3, 0.5, {"checkout": PLAN}, 2)
        store.report(replace(report, revision=1))
        store.report(report)
        store.report(replace(report, id="p2", staleness=None))
        found = {r.id: r for r in store.processes()}
        assert set(found) == {"p1", "p2"}
        assert found["p1"] == replace(report, at=found["p1"].at)
        assert abs(found["p1"].at - time.time()) < 60
        store.withdraw("p1")
        assert [r.id for r in store.processes()] == ["p2"]
        if isinstance(store, Remembering):
            assert [r.id for r in store.lately()] == ["p2"]

    def test_closing_is_not_the_end(self, store: StateStore) -> None:
        document = started()
        assert store.swap(None, document, audit(document))
        store.close()
        store.close()
        assert store.load().document == document
