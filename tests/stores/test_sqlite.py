"""What only a file can do to us: no place for it, and other people's content in it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.core.codec import MAX_BYTES, encode, encode_report
from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import EVERYTHING
from canary_middleware.core.transitions import strike
from canary_middleware.errors import (
    ConfigurationError,
    StoreCorruptError,
    StoreUnavailableError,
)
from canary_middleware.stores import open_store
from canary_middleware.stores.protocol import REPORT_LIFE, SILENT_LIFE, Forgotten
from canary_middleware.stores.sqlite import HISTORY, SqliteStore
from canary_middleware.stores.sqlite_affinity import REMEMBERED
from canary_middleware.stores.sqlite_totals import LIFE as TOTALS_LIFE
from canary_middleware.testing.affinity import FIRST, LIFE, keys
from canary_middleware.testing.contract import audit, receive
from canary_middleware.testing.totals import present
from tests.stores.sqlite_shop import STARTED, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    for store in shop.opened:
        store.close()


# --- where it is ------------------------------------------------------------------------------


def test_three_slashes_are_relative_and_four_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("sqlite:///one +%20.db", f"sqlite:///{tmp_path}/two.db"):
        store = open_store(url, "shop")
        monkeypatch.chdir("/")  # a daemon does that
        store.kill(EVERYTHING, by="me", why="", now=1.0)
        store.close()
        monkeypatch.chdir(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one +%20.db", "two.db"]


@pytest.mark.parametrize(
    "url",
    ["sqlite:", "sqlite://", "sqlite:///", "sqlite://canary.db", "sqlite:///:memory:",
     "sqlite:///canary.db?mode=ro", "sqlite:canary.db"],
)  # fmt: skip
def test_what_names_no_file_is_a_mistake(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:///relative/to/here\.db") as caught:
        open_store(url, "shop")
    assert repr(url) in str(caught.value)


def test_who_only_reads_creates_nothing(shop: Shop) -> None:
    store = shop.store
    assert store.load().document is None
    assert (store.history(None, 9), store.processes(), list(store.claims("checkout"))) == ([],) * 3
    assert store.read("checkout", "2") == []
    store.withdraw("p1")
    with store.listen() as subscription:
        assert subscription.receive(0.01) is None
    assert list(shop.path.parent.iterdir()) == []


def test_an_empty_file_is_none(shop: Shop) -> None:
    shop.path.touch()
    assert shop.store.load().document is None
    shop.start()
    assert shop.store.load().document == STARTED


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/gone/canary.db", "shop")
    assert store.load().document is None
    with pytest.raises(StoreUnavailableError, match=f"there is no directory {tmp_path}/gone"):
        store.kill(EVERYTHING, by="me", why="", now=1.0)


def test_a_directory_is_no_file(shop: Shop) -> None:
    shop.path.mkdir()
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        shop.store.kill(EVERYTHING, by="me", why="", now=1.0)
    with pytest.raises(StoreUnavailableError, match="unable to open"):
        shop.store.load()


def test_many_create_it_at_once(tmp_path: Path) -> None:
    for attempt in range(30):
        path = tmp_path / f"{attempt}.db"
        stores = [SqliteStore(path, "shop", patience=5.0) for _ in range(6)]
        line = threading.Barrier(len(stores))

        def come(number: int, stores: list[SqliteStore] = stores, line: Any = line) -> bool:
            line.wait()
            stores[number].load()
            return stores[number].hold(str(number), 60)

        with ThreadPoolExecutor(len(stores)) as threads:
            held = list(threads.map(come, range(len(stores))))
        for store in stores:
            store.close()
        assert sum(held) == 1


# --- what is in it ----------------------------------------------------------------------------


def refuses_everything(shop: Shop, why: str) -> None:
    before = shop.path.read_bytes()
    loaded = shop.store.load()
    assert loaded.document is None
    assert why in str(loaded.corrupt)
    for change in (
        lambda: shop.store.swap(None, STARTED, audit(STARTED)),
        lambda: shop.store.kill(EVERYTHING, by="me", why="", now=1.0),
        lambda: shop.store.report(ProcessReport("p", "h", 1, "asgi", 1, None)),
        lambda: shop.store.claim([FIRST]),
    ):
        with pytest.raises(StoreCorruptError, match=why):
            change()
    with pytest.raises(StoreCorruptError), shop.store.listen():
        raise AssertionError("nothing to listen to")
    assert shop.path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"x" * 999, b"{}" * 1_000, b"SQLite format 3\x00" + b"\xff" * 4_096]
)
def test_a_file_of_another_kind_is_left_alone(shop: Shop, content: bytes) -> None:
    shop.path.write_bytes(content)
    refuses_everything(shop, "not a database")


def test_the_database_of_another_program_is_left_alone(shop: Shop) -> None:
    shop.spoil("CREATE TABLE users (name TEXT)")
    refuses_everything(shop, "the database of another program")


def test_another_schema_is_told(shop: Shop) -> None:
    shop.start()
    shop.store.close()
    shop.spoil("PRAGMA user_version = 7")
    refuses_everything(shop, "schema 7, not 1")


GARBAGE: dict[str, object] = {
    "no bytes": 7,
    "nothing": b"",
    "truncated": encode(STARTED)[:-9],
    "no UTF-8": b'{"lifted":{},"rollouts":{"\xff":{}}}',
    "NaN": encode(STARTED).replace(b'"weight":1000', b'"weight":NaN'),
    "-1": encode(STARTED).replace(b'"weight":1000', b'"weight":-1'),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "too long": b" " * MAX_BYTES + encode(STARTED),
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_spoiled_state_is_refused_as_a_whole_and_a_kill_takes_its_place(
    shop: Shop, garbage: str
) -> None:
    shop.start()
    shop.spoil("UPDATE state SET document = ?", GARBAGE[garbage])
    loaded = shop.store.load()
    assert (loaded.document, loaded.kill_key) == (None, None)
    assert isinstance(loaded.corrupt, StoreCorruptError)
    assert not shop.store.swap(None, STARTED, audit(STARTED)), "nobody overwrites it"
    assert not shop.store.swap(STARTED.key, STARTED, audit(STARTED))
    struck = shop.store.kill("checkout", by="me", why="fire", now=7.0)
    assert shop.store.load().document == struck
    assert struck.kills[EVERYTHING].why == "fire"
    assert struck.lineage != STARTED.lineage


def test_a_kill_of_a_state_that_is_full_is_one_of_everything(shop: Shop) -> None:
    full = STARTED
    while len(encode(full)) < MAX_BYTES - 2_000:
        full = strike(full, f"r{full.revision}", by="me", why="x" * 900, now=1.0)
    assert shop.store.swap(None, full, audit(full))
    for number in range(5):
        shop.store.kill(f"more{number}", by="me", why="x" * 900, now=1.0)
    document = shop.store.load().document
    assert document is not None
    assert document.killed("checkout") is not None


def test_a_spoiled_claim_counts_as_absent(shop: Shop) -> None:
    shop.store.claim([FIRST, replace(FIRST, key="bob")])
    for garbage in (7, b"", b"1:ab12:1:1:c", b"x" * 1_000_000, "1:ab12:1:1:c:1é", None):
        shop.spoil("UPDATE claims SET text = ? WHERE key = 'alice'", garbage)
        assert keys(shop.store) == {"bob"}
        (claim,) = shop.store.claim([replace(FIRST, bucket=5)])
        assert claim.bucket == 5
    shop.spoil("UPDATE claims SET key = ? WHERE key = 'alice'", b"\xff")
    assert keys(shop.store) == {"bob", "\N{REPLACEMENT CHARACTER}"}


def test_lines_and_reports_that_are_not_ours_are_left_out(shop: Shop) -> None:
    shop.start()
    shop.store.report(ProcessReport("p1", "h", 1, "asgi", 1, None))
    for line in (b"{}", 7, b"x" * 100_000):
        shop.spoil("INSERT INTO audit (namespace, line) VALUES ('shop', ?)", line)
        shop.spoil("INSERT OR REPLACE INTO processes VALUES ('shop', 'p2', ?, ?)",
                   shop.clock.now, line)  # fmt: skip
    assert shop.store.history(None, 9) == [audit(STARTED)]
    assert [report.id for report in shop.store.processes()] == ["p1"]


def test_a_dropped_table_is_a_corrupt_file(shop: Shop) -> None:
    shop.start()
    shop.spoil("DROP TABLE claims")
    with pytest.raises(StoreCorruptError, match="no such table"):
        shop.store.claim([FIRST])
    assert shop.store.load().document == STARTED


def test_namespaces_are_apart(shop: Shop) -> None:
    other = shop.open("other")
    shop.start()
    with other.listen() as subscription:
        shop.store.claim([FIRST])
        shop.store.forget("checkout", ["nobody"])
        shop.store.kill(EVERYTHING, by="me", why="", now=1.0)
        assert subscription.receive(0.15) is None
    assert (other.load().document, other.history(None, 9)) == (None, [])
    assert (keys(other), other.forget("checkout", None), len(keys(shop.store))) == (set(), 0, 1)
    assert shop.store.hold("me", 9)
    assert other.hold("you", 9)


# --- what is kept -----------------------------------------------------------------------------


def test_history_is_bounded(shop: Shop) -> None:
    shop.start()
    shop.spoil(
        "INSERT INTO audit (namespace, line) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
        " SELECT i + 1 FROM n WHERE i < 1500) SELECT 'shop', ? FROM n", b"{}",
    )  # fmt: skip
    shop.store.kill(EVERYTHING, by="me", why="", now=1.0)
    assert shop.count("audit") == HISTORY
    assert [line.action for line in shop.store.history(None, 9)] == ["kill"]


def test_silent_processes_and_expired_claims_go_by_and_by(shop: Shop) -> None:
    for number in range(50):
        shop.store.claim([replace(FIRST, key=str(number))])
    shop.store.report(ProcessReport("p1", "h", 1, "asgi", 1, None))
    shop.clock.now += LIFE / 1_000 + 1
    assert keys(shop.store) == set()
    assert shop.store.processes() == []
    left = []
    for number in range(4):
        shop.store.claim([replace(FIRST, key=f"new{number}")])
        left.append(shop.count("claims"))
    assert left == [31, 12, 3, 4], "at most twenty with each change"
    shop.clock.now += SILENT_LIFE
    shop.store.report(ProcessReport("p2", "h", 1, "asgi", 1, None))
    shop.clock.now += REPORT_LIFE + 1
    assert (shop.store.processes(), [one.id for one in shop.store.lately()]) == ([], ["p2"])
    assert shop.count("processes") == 1


def test_of_too_many_silent_processes_the_newest_count(shop: Shop) -> None:
    shop.store.report(ProcessReport("living", "h", 1, "asgi", 1, None))
    gone, heard = encode_report(ProcessReport("gone", "h", 1, "asgi", 1, None)), shop.clock.now - 60
    with closing(sqlite3.connect(shop.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO processes VALUES ('shop', ?, ?, ?)",
            [(f"gone{number}", heard, gone) for number in range(5_100)],
        )
    found = shop.store.lately()
    assert (len(found), found[-1].id) == (5_000, "living")
    assert [one.id for one in shop.store.processes()] == ["living"]


def test_a_clock_that_was_set_back_holds_no_lease(shop: Shop) -> None:
    assert shop.store.hold("me", 4)
    shop.clock.now -= 3_600
    assert shop.store.hold("you", 4)
    assert not shop.store.hold("me", 4)


def test_who_misses_revocations_has_to_subscribe_again(shop: Shop) -> None:
    with shop.open().listen() as subscription:
        for _ in range(REMEMBERED + 2):
            shop.store.forget("checkout", ["alice"])
        with pytest.raises(StoreUnavailableError, match="more was revoked"):
            subscription.receive(1.0)
    assert shop.count("forgotten") == REMEMBERED
    with shop.open().listen() as subscription:
        shop.store.forget("checkout", ["bob"])
        assert receive(subscription) == Forgotten("checkout", ("bob",))


def test_a_spoiled_revocation_hides_no_other(shop: Shop) -> None:
    with shop.open().listen() as subscription:
        shop.store.forget("checkout", ["alice"])
        shop.spoil("UPDATE forgotten SET push = ?", b'{"rollout":"checkout"}')
        shop.store.forget("checkout", ["bob"])
        with pytest.raises(StoreCorruptError):
            receive(subscription)
        assert receive(subscription) == Forgotten("checkout", ("bob",))


def test_a_listener_notices_that_revocations_were_lost(shop: Shop) -> None:
    shop.store.forget("checkout", ["alice"])
    with shop.open().listen() as subscription:
        shop.spoil("DELETE FROM forgotten")
        with pytest.raises(StoreUnavailableError, match="has lost"):
            subscription.receive(1.0)


def test_silent_totals_go_and_their_sum_stays_with_the_release(shop: Shop) -> None:
    store = shop.store
    store.put("checkout", "2", "b1", b"1")
    store.fold("checkout", "2", b"1", {"b1": b"1"}, b"")
    store.put("checkout", "2", "b2", b"2")
    store.put("checkout", "1", "b1", b"over")
    store.fold("checkout", "1", b"over", {"b1": b"over"}, b"")
    shop.clock.now += TOTALS_LIFE - 1
    store.put("checkout", "2", "b3", b"3")
    assert present(store) == {"": b"1", "b2": b"2", "b3": b"3"}
    shop.clock.now += 2
    store.put("checkout", "2", "b4", b"4")
    assert present(store) == {"": b"1", "b3": b"3", "b4": b"4"}
    assert present(store, "1") == {}
    assert shop.count("folded") == 0


def test_totals_that_cannot_be_read_are_told(shop: Shop) -> None:
    shop.store.put("checkout", "2", "b1", b"1")
    for spoiled in (b"x" * 300_000, 7):
        shop.spoil("UPDATE totals SET data = ?", spoiled)
        with pytest.raises(StoreUnavailableError, match="none, or too large"):
            shop.store.read("checkout", "2")
    assert not shop.store.fold("checkout", "2", b"", {"b1": b"1"}, b"")
