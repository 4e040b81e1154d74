"""`kill` and `revive`: unconditional, loud about what they hit, and heard by who starts later."""

from __future__ import annotations

from pathlib import Path

import pytest

from canary_middleware import Canary, Reason, Rollout
from canary_middleware.core.state import Document, Plan
from tests.cli.conftest import Shell
from tests.support.redis import RedisServer, connect

KEY = "k" * 32


def application(canary: Shell) -> Canary:
    """What `checkout` looks like from inside a process that starts now."""
    rollout = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/checkout",))
    return Canary(rollout, namespace=canary.namespace, store=canary.url, secret_keys=[KEY])


def gate(app: Canary) -> Reason | None:
    app.arrive_blocking()
    try:
        return app.engine.snapshot.by_name["checkout"].gate
    finally:
        app.stop()


def test_the_namespace_is_killed_and_told_what_was_hit(started: Shell) -> None:
    started.declare(Plan("1", "2"), rollout="search", id="p2")
    started("start", "search", "--weight", "50%")
    answer = started("kill", "--why", "errors doubled")
    assert answer.code == 0
    assert answer.out.splitlines() == [
        f"KILLED everything in namespace {started.namespace}",
        "ROLLOUT   PHASE   WEIGHT  RELEASE  EVERYBODY BACK ON",
        "checkout  paused  5%      1.5.0    1.4.2",
        "search    paused  50%     2        1",
        "Lift it with: canary revive",
    ]


def test_a_kill_of_a_promoted_rollout_first_says_what_it_moves(started: Shell) -> None:
    started("promote", "checkout", "--yes")
    first = started("kill", "checkout").out.splitlines()[0]
    assert first == "checkout is promoted: this moves everybody from 1.5.0 back to 1.4.2"


def test_a_kill_has_a_shape_for_machines(started: Shell) -> None:
    shape = started("kill", "checkout", "--json").json
    hit = shape.pop("hit")
    assert shape == {"scope": "checkout", "persisted": True, "revision": 2, "kills": ["checkout"],
                     "known": True}  # fmt: skip
    assert [(each["rollout"], each["everybody_on"]) for each in hit] == [("checkout", "1.4.2")]


def test_a_kill_in_an_empty_store_is_seen_by_an_application_that_starts_later(
    canary: Shell,
) -> None:
    assert gate(application(canary)) is Reason.IDLE
    assert canary.process("kill", "--why", "before the first deploy").code == 0
    assert gate(application(canary)) is Reason.KILL_SWITCH
    assert canary.process("revive", "--yes").code == 0
    assert gate(application(canary)) is Reason.IDLE


def test_a_kill_without_any_application_holds_for_the_next_one(started: Shell) -> None:
    assert gate(application(started)) is None
    answer = started.process("kill", "checkout")
    assert (answer.code, answer.err) == (0, "")
    assert gate(application(started)) is Reason.KILL_SWITCH


def test_a_kill_of_an_unknown_name_holds_and_says_so(started: Shell) -> None:
    answer = started("kill", "chekout")
    assert answer.code == 0
    known = "canary: nobody knows a rollout chekout (known: checkout)"
    assert answer.err == f"{known}; did you mean checkout?\n"
    unknown = "no process declares a rollout of this name, and none was ever started"
    still = "still on a canary: checkout at 5%; perhaps meant: canary kill checkout"
    assert answer.out.splitlines() == [
        f"KILLED chekout in namespace {started.namespace}, but nobody was moved: {unknown}",
        still,
        "Lift it with: canary revive chekout",
    ]
    looked = started("status").out
    assert "KILLED chekout, but nobody was moved, by " in looked
    assert f"  {unknown}; lift it with: canary revive chekout\n  {still}\n" in looked
    assert "everybody is on stable" not in looked
    started("kill", "checkout")
    looked = started("status").out
    assert looked.count(unknown) == 1
    assert "still on a canary" not in looked
    kills = started("status", "--json").json["kills"]
    assert sorted((kill["scope"], kill["known"]) for kill in kills) == [
        ("checkout", True), ("chekout", False),
    ]  # fmt: skip
    assert started("revive", "chekout", "--yes").code == 0
    assert (
        started("kill", "orders").err == "canary: nobody knows a rollout orders (known: checkout)\n"
    )


def test_a_kill_of_a_name_that_is_like_no_other_names_the_only_one_on_its_way(
    started: Shell,
) -> None:
    meant = "still on a canary: checkout at 5%; perhaps meant: canary kill checkout\n"
    assert meant in started("kill", "orders").out
    started.declare(Plan("1", "2"), rollout="search", id="p2")
    started("start", "search", "--weight", "50%")
    assert "still on a canary: checkout at 5%, search at 50%\n" in started("status").out
    started("kill")
    assert "still on a canary" not in started("status").out
    assert started("kill", "orders", "--json").json["known"] is False


def test_what_nobody_runs_any_more_is_not_hit(canary: Shell) -> None:
    for release, stable in (("2.0", "1.0"), ("5.0", "2.0")):
        canary.declare(Plan(stable, release))
        canary("start", "checkout", "--weight", "50%")
        if release == "2.0":
            canary("promote", "checkout", "--yes")
            canary("finish", "checkout", "--early", "--yes")
    answer = canary("kill").out
    assert "2.0 back to 1.0" not in answer
    assert [line.split() for line in answer.splitlines()[2:-1]] == [
        ["checkout", "paused", "50%", "5.0", "2.0"]
    ]
    canary.declare(Plan("1.0", "2.0"), id="old")
    assert "this moves everybody from 2.0 back to 1.0" in canary("kill").out
    for name in ("old", "p1"):
        store = canary.store()
        store.withdraw(name)
        store.close()
    assert "this moves everybody from 2.0 back to 1.0" in canary("kill").out  # who can tell?


def test_what_is_on_its_way_and_undeclared_is_marked(started: Shell) -> None:
    started.declare(Plan("1.5.0", "1.6.0"))
    assert "checkout  paused  5%      1.5.0 (no process declares it)" in started("kill").out


def test_no_revival_lifts_a_kill_file_and_it_says_so(started: Shell) -> None:
    for number in range(2):
        started.declare(id=f"k{number}", host="web-7", kill_file="disk full")
    file = f"its kill file {started.namespace}.kill in its snapshot_path: remove it there"
    refused = started("revive", "--yes")
    assert refused.code == 1
    assert refused.err.count(f"host web-7 stays killed by {file}") == 1
    started("kill")
    revived = started("revive", "--yes")
    assert revived.out.endswith(f"host web-7 stays killed by {file}\n")
    started("kill")
    assert started("revive", "--yes", "--json").json["kill_files"] == ["web-7"]


def test_a_declared_rollout_is_known_although_it_is_idle(canary: Shell) -> None:
    canary.declare()
    assert canary("kill", "checkout").err == ""


def test_revive_pauses_and_says_how_to_go_on(canary: Shell) -> None:
    canary.declare()
    canary("start", "checkout")
    canary("kill")
    refused = canary("weight", "checkout", "5%")
    assert (refused.code, "canary revive" in refused.err) == (1, True)
    *_, line = canary("revive", "--yes").out.splitlines()
    assert line == (
        "checkout: paused at 1%: 1.5.0 for 1% of visitors, 1.4.2 for the others; "
        "its ramp goes on with: canary resume checkout"
    )


def test_without_a_ramp_revive_says_who_is_on_canary_again_and_names_no_empty_step(
    canary: Shell,
) -> None:
    canary.declare(Plan("1.4.2", "1.5.0"))
    canary("start", "checkout", "--weight", "50%")
    canary("kill")
    *_, line = canary("revive", "--yes").out.splitlines()
    assert line == "checkout: paused at 50%: 1.5.0 for 50% of visitors, 1.4.2 for the others"


def test_a_revive_of_the_wrong_scope_says_what_is_killed_and_what_lifts_it(started: Shell) -> None:
    started("kill", "checkout")
    everything = started("revive", "--yes")
    assert (everything.code, everything.err) == (1, (
        "canary: the namespace is not killed, only checkout "
        "(lift that with `canary revive checkout`)\n"
    ))  # fmt: skip
    assert started("revive", "checkout", "--yes").code == 0
    started("kill")
    rollout = started("revive", "checkout", "--yes")
    assert (rollout.code, rollout.err) == (1, (
        "canary: checkout: it is not killed by itself, the whole namespace is "
        "(lift that with `canary revive`)\n"
    ))  # fmt: skip


def test_a_kill_that_no_process_can_hear_succeeds_and_asks_for_the_namespace(
    canary: Shell,
) -> None:
    answer = canary("kill")
    assert answer.code == 0
    assert answer.err == (
        f"canary: no process has reported in namespace {canary.namespace} in the last 15 s; "
        "is the namespace right?\n"
    )
    canary.declare()
    assert canary("kill").err == ""


def test_revive_names_what_is_still_killed(started: Shell) -> None:
    started("kill", "checkout")
    started("kill")
    answer = started("revive", "--yes").out
    assert "still killed: checkout; lift it with: canary revive checkout\n" in answer
    assert "paused at" not in answer  # nobody is back on the canary yet
    shape = started("revive", "checkout", "--yes", "--json").json
    assert shape.keys() == {"scope", "revision", "still_killed", "kill_files", "rollouts"}
    assert shape["still_killed"] == []


def test_the_plain_kill_key_is_shown_and_cleared(started: Shell) -> None:
    with connect(started.url) as client:
        client.set(f"canary:{{{started.namespace}}}:kill", "typed at night")
    assert "KILLED everything by kill key" in started("status").out
    assert started("status", "--json").json["kill_key"] == "typed at night"
    assert started("revive", "--yes").code == 0
    assert "KILLED" not in started("status").out


def test_without_memory_for_it_a_kill_is_published_and_says_so(
    redis_server: RedisServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    canary = Shell(redis_server.url, namespace, capsys)
    canary.declare()
    canary("start", "checkout", "--weight", "5%")
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
    store = canary.store()
    with store.listen() as pushes:
        pushes.receive(0.2)
        answer = canary("kill")
        heard = pushes.receive(2.0)
    store.close()
    assert isinstance(heard, Document)
    assert heard.kills
    assert answer.code == 4
    assert "KILLED everything" in answer.out
    assert "checkout  paused  5%" in answer.out
    assert (answer.err.count("\n"), "not written" in answer.err) == (1, True)
    assert canary("kill", "--json").json["persisted"] is False


def test_an_unreadable_state_is_killed_as_a_whole(started: Shell) -> None:
    with connect(started.url) as client:
        client.hset(f"canary:{{{started.namespace}}}:state", "body", "garbage")
    looked = started("status")
    assert (looked.code, looked.err.count("\n")) == (3, 1)
    assert "`canary kill` works" in looked.err
    answer = started("kill", "checkout")
    assert answer.code == 0
    assert "everything was killed instead" in answer.err


def test_a_broken_file_does_not_stand_in_the_way(
    started: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "canary.toml"
    file.write_text('namespace = "other"\nweight = 5\n[rollouts.checkout]\n')
    assert started("kill", "--config", str(file)).code == 0
