"""`canary affinity`: what the store remembers, without a name in any output."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

from canary_middleware import Canary, Rollout, current
from canary_middleware.claims import keeper
from canary_middleware.core.bucket import ANONYMOUS, IDENTIFIED, SPACE, lane_key
from canary_middleware.core.claims import Ask, claim_key
from canary_middleware.core.cookie import Cookie, write
from canary_middleware.core.model import Memory, Policy
from canary_middleware.core.state import Plan
from canary_middleware.core.token import TokenCodec
from canary_middleware.wsgi import CanaryMiddleware
from tests.cli.conftest import Answer, Shell
from tests.scenarios import wsgi_driver
from tests.scenarios.words import Ask as Request
from tests.support.servers import wait_until

KEY = "k" * 32
BUCKETS = "b" * 32
NAME = "alice@example.com"
SHARED = Plan("1.4.2", "1.5.0", policy=Policy.KEEP, affinity=Memory.SHARED)


@pytest.fixture
def shop(canary: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """`checkout` is at 50 % with shared affinity; the secrets are in the environment."""
    monkeypatch.setenv("CANARY_BUCKET_SECRET", BUCKETS)
    monkeypatch.setenv("CANARY_SECRET_KEYS", KEY)
    canary.declare(SHARED)
    assert canary("start", "checkout", "--weight", "50%").code == 0
    yield canary
    store = canary.store()
    keeper(store).forget("checkout", None)
    store.close()


def claim(shop: Shell, subject: str, bucket: int, kind: bytes = IDENTIFIED) -> str:
    """As a process claims for a first sight; the key."""
    store = shop.store()
    document = store.load().document
    assert document is not None
    entry = document.rollouts["checkout"].entries["1.5.0"]
    key = claim_key(lane_key(BUCKETS.encode(), shop.namespace, "checkout", "1.5.0"), kind, subject)
    limit = SPACE * entry.weight // 100_000
    keeper(store).claim([
        Ask(
            "checkout", key, None, document.lineage, entry.epoch, entry.period, limit, bucket,
            raises=True, life=60_000,
        )
    ])  # fmt: skip
    store.close()
    return key


def names_nobody(*answers: Answer) -> None:
    for answer in answers:
        for part in (NAME, NAME[:5], BUCKETS, KEY):
            assert part not in answer.out + answer.err


def test_a_subject_is_found_shown_and_revoked_without_its_name(shop: Shell) -> None:
    key = claim(shop, NAME, 5)
    shown = shop("affinity", "show", "checkout", "--subject", NAME)
    listed = shop("affinity", "list", "checkout")
    revoked = shop(
        "affinity", "revoke", "checkout", "--subject", NAME, "--by", "bob", "--why", "she asked"
    )
    again = shop("affinity", "revoke", "checkout", "--subject", NAME)
    gone = shop("affinity", "show", "checkout", "--subject", NAME)
    assert key in shown.out
    assert shown.out == listed.out
    assert revoked.out == "checkout: 1 claim revoked\n"
    assert "0 claims revoked, the store had none" in again.out
    assert gone.out == f"checkout: no claim under {key}\n"
    assert {answer.code for answer in (shown, listed, revoked, again, gone)} == {0}
    history = shop("history", "checkout")
    assert "checkout  revoke  1 claim\n" in history.out
    assert f"by bob (from {socket.gethostname()}): she asked" in history.out
    names_nobody(shown, listed, revoked, again, gone, history)


def test_a_cookie_names_the_claim_of_its_browser(shop: Shell) -> None:
    key = claim(shop, "visitor-00000001", 5, ANONYMOUS)
    codec = TokenCodec([KEY.encode()], shop.namespace, "visitor")
    cookie = write(codec, Cookie("visitor-00000001", 2_000_000_000))
    assert shop("affinity", "show", "checkout", "--cookie", cookie).out.splitlines()[1][:22] == key
    assert shop("affinity", "revoke", "checkout", "--cookie", cookie, "--json").json == {
        "rollout": "checkout",
        "revoked": 1,
    }


def test_a_key_revokes_what_the_list_shows(shop: Shell) -> None:
    kept, gone = claim(shop, "a", 5), claim(shop, "b", 5)
    assert shop("affinity", "revoke", "checkout", "--key", gone).code == 0
    left = shop("affinity", "list", "checkout", "--json").json
    assert [found["key"] for found in left["claims"]] == [kept]
    assert left["more"] is False


def test_the_list_ends_where_it_shall(shop: Shell) -> None:
    for number in range(5):
        claim(shop, f"user-{number}", number)
    found = shop("affinity", "list", "checkout", "--limit", "3", "--json").json
    assert (len(found["claims"]), found["more"]) == (3, True)
    assert (
        "and more; `canary affinity count`"
        in shop("affinity", "list", "checkout", "--limit", "3").out
    )


def test_the_count_tells_pinned_from_served(shop: Shell) -> None:
    for number in range(6):
        claim(shop, f"user-{number}", number * SPACE // 10)
    shop("affinity", "count", "checkout")
    shop("weight", "checkout", "5%")
    lowered = shop("affinity", "count", "checkout", "--json").json
    # What `keep` pins stays; a stable claim is covered as soon as the weight is.
    assert lowered["pinned"] == lowered["served"] == {"stable": 1, "canary": 5}
    shop("weight", "checkout", "60%")
    raised = shop("affinity", "count", "checkout", "--json").json
    assert (raised["pinned"], raised["served"]) == (
        {"stable": 1, "canary": 5},
        {"stable": 0, "canary": 6},
    )
    shop("kill", "checkout")
    assert shop("affinity", "count", "checkout", "--json").json["served"]["stable"] == 6
    shop("revive", "checkout", "--yes")
    older = shop("affinity", "count", "checkout")
    assert older.out == (
        "checkout: 6 claims\n"
        "  pinned in this epoch: stable 0, canary 0\n"
        "  served now: stable 0, canary 0\n"
        "  of an older epoch or release: 6\n"
    )
    assert "placed anew" in shop("affinity", "list", "checkout").out


def test_all_of_them_need_to_be_meant(shop: Shell) -> None:
    claim(shop, "a", 1)
    claim(shop, "b", 2)
    asked = shop.process("affinity", "revoke", "checkout", "--all")
    assert (asked.code, asked.out) == (2, "")
    assert asked.err == (
        "canary: canary affinity revoke asks first, and nobody can be asked here; "
        "say: canary affinity revoke checkout --all --yes\n"
    )
    done = shop("affinity", "revoke", "checkout", "--all", "--yes")
    assert done.out == "checkout: 2 claims revoked\n"
    assert shop("affinity", "list", "checkout").out == "checkout: no claims\n"


@pytest.mark.parametrize(("typed", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_on_a_terminal_it_asks(shop: Shell, typed: bytes, code: int, left: int) -> None:
    claim(shop, "a", 1)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "canary_middleware.cli", "affinity", "revoke", "checkout"]
    with subprocess.Popen(
        [*command, "--all"], env=shop.environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        try:
            os.close(theirs)
            asked = b""
            while b"[y/N]" not in asked:
                assert select.select([ours], [], [], 20)[0], asked
                asked += os.read(ours, 1000)
            os.write(ours, typed)
            assert process.wait(20) == code
        finally:
            process.kill()
            os.close(ours)
    assert shop("affinity", "count", "checkout", "--json").json["claims"] == left


def test_what_cannot_be_done_takes_one_line(shop: Shell) -> None:
    revoking = ("affinity", "revoke", "checkout")
    cases = [
        (("affinity", "list", "nosuch"), 1, "nosuch: there is no such rollout (known are"),
        (("affinity", "list", "check out"), 2, "is not a name of a rollout"),
        (("affinity", "count", "checkout", "--release", "9"), 1, "known releases: 1.5.0"),
        (("affinity", "show", "checkout"), 2, "give one of --subject and --cookie"),
        (("affinity", "show", "checkout", "--cookie", "a.b.c"), 1, "the cookie is forged"),
        (revoking, 2, "give one of --subject, --cookie, --key and --all"),
        ((*revoking, "--subject", NAME, "--all"), 2, "give one of"),
        ((*revoking, "--key", NAME), 2, "not a key as"),
    ]
    for words, code, reason in cases:
        answer = shop(*words)
        assert (answer.code, answer.out) == (code, ""), words
        assert reason in answer.err
        names_nobody(answer)


def test_without_the_secret_nobody_is_found(shop: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CANARY_BUCKET_SECRET")
    answer = shop("affinity", "show", "checkout", "--subject", NAME)
    assert answer.code == 2
    assert answer.err.startswith("canary: CANARY_BUCKET_SECRET: is missing")
    names_nobody(answer)


def test_a_store_that_is_away_and_one_that_cannot(shop: Shell) -> None:
    away = shop.process("affinity", "list", "checkout", CANARY_STORE="redis://127.0.0.1:1/0")
    assert (away.code, len(away.err.splitlines())) == (3, 1)
    memory = shop.process("affinity", "list", "checkout", CANARY_STORE="memory://")
    assert (memory.code, len(memory.err.splitlines())) == (2, 1)
    assert "memory:// lives inside one process" in memory.err


def test_a_rollout_whose_places_are_in_cookies_says_so(shop: Shell) -> None:
    shop.declare(Plan("1", "2"), rollout="search", id="p2")
    shop("start", "search", "--weight", "5%")
    answer = shop("affinity", "list", "search")
    assert answer.out == (
        "search: no claims\nnote: search remembers places in the visitor's cookie, "
        "not in the store\n"
    )


def test_what_was_never_started_has_nothing_to_revoke(shop: Shell) -> None:
    shop.declare(Plan("1", "2"), rollout="search", id="p2")
    answer = shop("affinity", "revoke", "search", "--all", "--yes")
    assert (answer.code, answer.out) == (1, "")
    assert "search: was never started" in answer.err


# --- beside a running process -------------------------------------------------------------------


class Running:
    """A process that serves `checkout`, and a browser that visits it."""

    def __init__(self, shop: Shell, url: str, **rollout: str) -> None:
        self.facade = Canary(
            Rollout("checkout", "1.4.2", "1.5.0", **rollout),  # type: ignore[arg-type]  # texts
            store=url,
            namespace=shop.namespace,
            secret_keys=[KEY],
            bucket_secret=BUCKETS,
            identify=lambda view: view.header("X-User"),
            telemetry=False,
            poll=60.0,
            max_staleness=None,
            claim_budget=1.0,
        )
        self._app = CanaryMiddleware(self._application, self.facade)
        self.cookie = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *caught: object) -> None:
        self.facade.stop()

    @staticmethod
    def _application(_: Any, start_response: Any) -> list[bytes]:
        version = current("checkout").version
        start_response("200 OK", [])
        return [version.encode()]

    def visit(self, user: str = "") -> str:
        pairs = [("X-User", user), ("Cookie", self.cookie)]
        request = Request(headers=[(name, text) for name, text in pairs if text])
        reply = wsgi_driver.exchange(self._app, wsgi_driver.http_environ(request))
        assert reply.status == 200
        for line in reply.all("set-cookie"):
            self.cookie = line.partition(";")[0]
        return reply.body.decode()

    def heard(self) -> None:
        document = self.facade.store.load().document
        assert document is not None
        wait_until(lambda: self.facade.engine.document == document, what="a change is heard")


@pytest.mark.parametrize("kind", ["redis", "sqlite"])
def test_a_revoked_subject_is_placed_anew_by_a_running_process(
    shop: Shell, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if kind == "sqlite":
        shop = Shell(f"sqlite:///{tmp_path}/canary.db", shop.namespace, capsys)
        shop.declare(SHARED)
        shop("start", "checkout")
    with Running(shop, shop.url, policy="keep", affinity="shared") as running:
        shop("weight", "checkout", "100%")
        assert running.visit(NAME) == "1.5.0"
        shop("weight", "checkout", "0%")
        running.heard()
        assert running.visit(NAME) == "1.5.0", "kept"
        explained = shop("explain", "checkout", "--subject", NAME)
        assert explained.out.startswith("checkout: canary, version 1.5.0, reason pin,")
        assert shop("affinity", "revoke", "checkout", "--subject", NAME).code == 0
        memory = running.facade.engine.claims
        wait_until(lambda: not len(memory), what="the push is heard")
        assert running.visit(NAME) == "1.4.2"
        again = shop("explain", "checkout", "--subject", NAME)
        assert again.out.startswith("checkout: stable, version 1.4.2, reason ")
        assert "1 claim" in shop("history", "checkout", "--limit", "1").out


def test_a_pin_in_a_cookie_is_explained(canary: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_BUCKET_SECRET", BUCKETS)
    monkeypatch.setenv("CANARY_SECRET_KEYS", KEY)
    canary.declare(replace(SHARED, affinity=Memory.COOKIE))
    canary("start", "checkout", "--weight", "100%")
    with Running(canary, canary.url, policy="keep") as running:
        assert running.visit() == "1.5.0"
        canary("weight", "checkout", "0%")
        running.heard()
        assert running.visit() == "1.5.0"
        cookie = running.cookie.partition("=")[2]
        shape = canary("explain", "checkout", "--cookie", cookie, "--json").json
        assert (shape["cohort"], shape["reason"], shape["notes"]) == ("canary", "pin", [])
        subject = canary("explain", "checkout", "--subject", NAME)
        assert "reason weight" in subject.out
        assert "note: a browser of this subject may carry a pin" in subject.out


OPERATIONS = (
    ("list", "checkout"), ("count", "checkout"), ("show", "checkout", "--subject", NAME),
    ("revoke", "checkout", "--subject", NAME), ("revoke", "checkout", "--all", "--yes"),
)  # fmt: skip


@pytest.mark.parametrize("memory", Memory)
@pytest.mark.parametrize("words", OPERATIONS, ids=" ".join)
def test_the_note_about_cookies_is_for_rollouts_that_remember_there(
    canary: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], memory: Memory
) -> None:
    monkeypatch.setenv("CANARY_BUCKET_SECRET", BUCKETS)
    canary.declare(replace(SHARED, affinity=memory))
    note = "note: checkout remembers places in the visitor's cookie, not in the store\n"
    before = canary("affinity", *words)
    canary("start", "checkout")
    # What was never started has nothing to revoke, and that is refused.
    looks = [] if words[0] == "revoke" else [before]
    for answer in (*looks, canary("affinity", *words)):
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.endswith(note) == (note in answer.out) == (memory is Memory.COOKIE)


def test_what_is_drawn_per_request_is_explained_as_such(shop: Shell) -> None:
    shop.declare(Plan("1", "2", policy=Policy.REQUEST), rollout="search", id="p2")
    shop("start", "search", "--weight", "50%")
    notes = shop("explain", "search", "--subject", NAME, "--json").json["notes"]
    assert notes == ["policy request: every request is drawn by chance, this is one of them"]
