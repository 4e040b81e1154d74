"""Three releases in a row, a hot-fix in the middle, a release that returns: under load, pod by pod.

Old and new pods stand side by side behind one address all the time, and every single answer is
compared with the table of phases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.core.state import Document, Entry
from canary_middleware.errors import VerbRefusedError
from tests.support.redis import RedisServer
from tests.support.servers import Process, free_port, wait_until
from tests.system.releases import CANARY, SPLIT, STABLE, Build, Record, Table, crowd
from tests.system.rig import BIN, ROOT, Front, Rig

VISITORS = 200
WEIGHT = 30_000
FAR_OFF = 0.16
"""Five standard deviations of the share of 200 visitors at 30 %."""
DWELL = 0.4
"""Seconds for which the crowd looks at each state at least."""

Verb = Callable[..., Document]


@dataclass
class Shop:
    """Pods behind one address, changed as people do it."""

    rig: Rig
    front: Front
    stack: ExitStack
    record: Record = field(default_factory=Record)
    pods: list[tuple[int, Process]] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    table: Table = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = self.rig.store()

    def pod(self, stable: str, canary: str) -> Process:
        """One more pod, which gets its share at once."""
        build = Build(self.rig.url, self.rig.setup.namespace, stable, canary)
        port = free_port()
        command = [str(BIN / "uvicorn"), "tests.system.release_site:app", "--port", str(port)]
        log = self.rig.directory / f"pod-{port}.log"
        process = Process(command, log, env=build.environment(), cwd=ROOT)
        self.stack.enter_context(process)
        process.wait_port(port, timeout=30)
        self.pods.append((port, process))
        self._send_everybody()
        return process

    def retire(self) -> None:
        """The oldest pod leaves in good order."""
        _, process = self.pods.pop(0)
        self._send_everybody()
        time.sleep(0.1)  # a connection that was being made is through now
        process.terminate()

    def _send_everybody(self) -> None:
        self.front.only(port for port, _ in self.pods)

    def do(self, verb: Verb, release: str, word: str, **options: object) -> None:
        """One verb of the command line, after which this word of the table holds."""
        self.table = {**self.table, release: word}
        self.record.begin(self.table)
        document = verb(self.store, "shop", by="test", release=release, **options)
        wait_until(lambda: self._all_follow(document.revision), what=f"all follow {verb.__name__}")
        self.record.settle()
        self.actions.append(verb.__name__)
        if word == SPLIT:
            self._all_see(release)
        else:
            time.sleep(DWELL)

    def _all_see(self, release: str) -> None:
        answers, since = self.record.answers, len(self.record.answers)
        wait_until(
            lambda: len({a.visitor for a in answers[since:] if a.canary == release}) == VISITORS,
            what=f"everybody has been to a pod of {release}",
        )

    def _all_follow(self, revision: int) -> bool:
        pids = {process.pid for _, process in self.pods}
        following = {r.pid for r in self.store.processes() if r.revision == revision}
        return pids <= following

    def refused(self, verb: Verb, said: str, **options: object) -> None:
        with pytest.raises(VerbRefusedError, match=said):
            verb(self.store, "shop", by="test", **options)


def hot_fix(shop: Shop) -> None:
    """Half of the pods get it, it is put in force, the other half gets it."""
    fixed = shop.pod("1.4.1", "1.5")
    line = "shop: this process declares stable 1.4.1 (in force: 1.4)"
    wait_until(lambda: bool(verbs.status(shop.store).odd), timeout=5, what="status names it")
    fixed.wait_log(line, timeout=5)
    (odd,) = verbs.status(shop.store).odd
    assert [process.pid for process in odd.processes] == [fixed.pid]
    assert odd.command == "canary rebase shop --stable 1.4.1"
    shop.retire()
    held = entry(shop, "1.5")
    shop.do(verbs.rebase, "1.5", SPLIT)
    now = entry(shop, "1.5")
    assert (now.stable, now.period > held.period) == ("1.4.1", True)
    assert [one.revision for one in now.periods] == [held.period, now.period]
    assert replace(now, stable="", period=0, periods=(), since=0.0, plan=held.plan) == replace(
        held, stable="", period=0, periods=(), since=0.0
    )
    shop.pod("1.4.1", "1.5")
    shop.retire()
    wait_until(lambda: not verbs.status(shop.store).odd, timeout=20, what="nobody is odd any more")


def entry(shop: Shop, release: str) -> Entry:
    document = shop.store.load().document
    found = document.entry("shop", release) if document else None
    assert found is not None
    return found


def promoted_and_finished(shop: Shop, release: str) -> None:
    shop.do(verbs.promote, release, CANARY)
    shop.refused(verbs.finish, f"window of {release} is open for another 1h", release=release)
    shop.do(verbs.finish, release, CANARY, early=True)


def live(shop: Shop) -> None:
    """1.4 to 1.7."""
    shop.pod("1.4", "1.5")
    shop.pod("1.4", "1.5")
    with crowd(shop.front.port, VISITORS, shop.record):
        shop.do(verbs.start, "1.5", SPLIT, weight=WEIGHT)
        hot_fix(shop)
        promoted_and_finished(shop, "1.5")

        shop.pod("1.5", "1.6")
        shop.retire()
        shop.refused(verbs.start, "several releases: 1.5, 1.6")
        shop.do(verbs.start, "1.6", SPLIT, weight=WEIGHT)  # beside a pod that is at 1.5
        shop.pod("1.5", "1.6")
        shop.retire()
        shop.do(verbs.rollback, "1.6", STABLE)
        shop.refused(verbs.start, "--again", release="1.6")
        shop.do(verbs.start, "1.6", SPLIT, weight=WEIGHT, again=True)
        promoted_and_finished(shop, "1.6")

        shop.pod("1.6", "1.7")
        shop.retire()
        shop.do(verbs.start, "1.7", SPLIT, weight=WEIGHT)
        shop.do(verbs.promote, "1.7", CANARY)
        shop.do(verbs.rollback, "1.7", STABLE)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory: Path = tmp_path_factory.mktemp("releases")
    with (
        RedisServer(directory) as redis,
        Rig(directory, redis.url, "releases") as rig,
        ExitStack() as stack,
    ):
        made = Shop(rig, rig.front(), stack)
        made.record.begin({})
        live(made)
        yield made


def test_every_answer_is_what_the_table_says(shop: Shop) -> None:
    count = len(shop.record.answers)
    print(f"\n{count} answers in {len(shop.record.eras)} states")
    assert count > 2_000
    assert shop.record.broken == []
    assert list(shop.record.wrong())[:3] == []
    builds = {(answer.stable, answer.canary) for answer in shop.record.answers}
    assert builds == {("1.4", "1.5"), ("1.4.1", "1.5"), ("1.5", "1.6"), ("1.6", "1.7")}


def test_nobody_is_moved_within_a_release(shop: Shop) -> None:
    places = shop.record.places()
    assert {release: len(visitors) for release, visitors in places.items()} == {
        "1.5": VISITORS, "1.6": VISITORS, "1.7": VISITORS,
    }  # fmt: skip
    assert shop.record.moved() == []


@pytest.mark.parametrize("release", ["1.5", "1.6", "1.7"])
def test_the_split_is_that_of_the_plan(shop: Shop, release: str) -> None:
    sides = shop.record.places()[release].values()
    share = sum(CANARY in seen for seen in sides) / VISITORS
    print(f"\n{release}: {share:.1%}")
    assert abs(share - WEIGHT / 100_000) < FAR_OFF


def test_no_pod_changed_what_is_shared(shop: Shop) -> None:
    document = shop.store.load().document
    assert document is not None
    assert document.revision == len(shop.actions)
    history = [audit.action for audit in verbs.history(shop.store, limit=100)]
    assert history == shop.actions[::-1]


def test_an_answer_from_the_other_side_would_be_noticed(shop: Shop) -> None:
    answers = shop.record.answers
    split = [a for a in answers if shop.record.words(a) == {SPLIT}]
    closed = [a for a in answers if shop.record.words(a) == {CANARY}]
    for answer, found in (
        (split[-1], lambda record: record.moved()),
        (closed[-1], lambda record: list(record.wrong())),
    ):
        other = answer.stable if answer.version == answer.canary else answer.canary
        spoiled = replace(shop.record, answers=[*answers, replace(answer, version=other)])
        assert len(found(spoiled)) == 1
