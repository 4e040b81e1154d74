"""`status` on terminals of two widths, elsewhere, for machines, and with hostile values."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from dataclasses import replace

import pytest

from canary_middleware.core.model import Memory, Policy
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.state import Plan
from tests.cli.conftest import PLAN, Shell
from tests.support.redis import connect

CSI = re.compile(r"\x1b\[[0-9;]*m")


CLI = ("-m", "canary_middleware.cli")


def on_a_terminal(
    canary: Shell, columns: int, *words: str, program: tuple[str, ...] = CLI, **variables: str
) -> str:
    """What a real terminal of that width is sent."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        k: v for k, v in canary.environment().items() if k not in ("COLUMNS", "NO_COLOR")
    }
    process = subprocess.Popen(
        [sys.executable, *program, *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, **variables},
    )
    os.close(theirs)
    sent = b""
    try:
        # Linux answers EIO once the other side is closed.
        while chunk := _read(ours):
            sent += chunk
    finally:
        os.close(ours)
        process.wait(10)
    return sent.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def table(text: str, head: str) -> list[str]:
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(head))
    end = next((i for i in range(start, len(lines)) if not lines[i]), len(lines))
    return lines[start:end]


def populate(canary: Shell) -> None:
    canary.declare(id="p1", host="web-1.production.eu-central-1.example.com", revision=1)
    canary.declare(id="p2", host="web-2.production.eu-central-1.example.com", revision=0)
    canary.declare(Plan("1", "2"), rollout="search", id="p3", host="büro-東京", revision=1)


def test_status_shows_rollouts_processes_and_what_waits(started: Shell) -> None:
    populate(started)
    text = started("status").out
    assert text.startswith(f"namespace {started.namespace}, revision 1\n")
    row = (
        r"^checkout  paused  5%      1\.5\.0    1\.4\.2   follow, cookie  "
        r"\d+ s ago  pay@example\.com$"
    )
    assert re.search(row, text, re.MULTILINE)
    assert "search: idle, run: canary start search\n" in text
    processes = table(text, "HOST")
    assert [re.split(r"  +", line)[3] for line in processes] == [
        "REVISION", "1", "1", "0, behind",
    ]  # fmt: skip
    assert "\x1b" not in text


def test_status_of_an_empty_namespace(canary: Shell) -> None:
    answer = canary("status")
    assert (answer.code, answer.err) == (0, "")
    assert "nothing was ever started or killed" in answer.out
    assert (
        "no process reports: none was heard in the last 15 s; is the namespace right?\n"
        "  a WSGI worker reports after its first request\n" in answer.out
    )
    shape = canary("status", "--json").json
    assert (shape["revision"], shape["lineage"], shape["kill_key"]) == (None, None, None)
    assert (shape["rollouts"], shape["kills"], shape["waiting"], shape["processes"]) == (
        [], [], [], [],
    )  # fmt: skip


def test_status_says_who_killed_and_why(started: Shell) -> None:
    started("kill", "checkout", "--by", "alice@desk", "--why", "slow")
    text = started("status").out
    who = re.escape(f"alice@desk (from {socket.gethostname()})")
    assert re.search(rf"^KILLED checkout by {who} \d+ s ago: slow$", text, re.MULTILINE)
    assert "  everybody is on stable; lift it with: canary revive checkout\n" in text
    assert "checkout  killed (paused)  5% (0% now)  1.5.0" in text


def test_status_has_one_shape_for_machines(started: Shell) -> None:
    populate(started)
    started("kill", "checkout")
    shape = started("status", "--json").json
    assert shape.keys() == {
        "namespace", "lineage", "revision", "kill_key", "warnings", "kills", "rollouts", "waiting",
        "odd", "scopes", "streams", "processes",
    }  # fmt: skip
    (kill,) = shape["kills"]
    assert kill.keys() == {"scope", "by", "why", "at", "revision", "known"}
    (rollout,) = shape["rollouts"]
    assert rollout.keys() == {
        "rollout", "killed", "current", "releases", "ended", "ramp", "measured", "trouble",
    }  # fmt: skip
    assert (rollout["ended"], rollout["ramp"], rollout["measured"]) == (True, None, None)
    assert rollout["current"] == rollout["releases"][0]
    assert shape["waiting"] == [{"rollout": "search", "release": "2", "run": "canary start search"}]
    first = shape["processes"][1]
    assert first.keys() == {
        "id", "host", "pid", "kind", "revision", "behind", "staleness", "in_flight", "streams",
        "silent", "at", "kill_file", "declares",
    }  # fmt: skip
    assert (first["behind"], first["declares"]) == (True, {"checkout": "1.5.0"})


def test_status_sums_what_is_open_and_says_until_when(started: Shell) -> None:
    old, new = OpenStreams("checkout", "1.4.2", 1), OpenStreams("checkout", "1.5.0", 5, 1, 42.1)
    last = OpenStreams("search", "2", 2, 2, 599.0)
    started.declare(id="p1", streams=(old, new))
    started.declare(id="p2", pid=7, streams=(OpenStreams("checkout", "1.5.0", 4, 1, 3.0), last))
    text = started("status").out
    assert "\ncheckout: 1 stream open on 1.4.2\n" in text
    told = "9 streams open on 1.5.0; 2 of them moving on, ended in 43 s at the latest"
    assert f"\ncheckout: {told}\n" in text
    assert "\nsearch: 2 streams still on 2, ended in 10 min at the latest\n" in text
    processes = [re.split(r"  +", line) for line in table(text, "HOST")]
    assert [cells[6] for cells in processes] == ["STREAMS", "6", "6"]
    shape = started("status", "--json").json
    assert shape["streams"] == [
        {"rollout": "checkout", "version": "1.4.2", "open": 1, "losing": 0, "within": None},
        {"rollout": "checkout", "version": "1.5.0", "open": 9, "losing": 2, "within": 42.1},
        {"rollout": "search", "version": "2", "open": 2, "losing": 2, "within": 599.0},
    ]
    counted = {p["id"]: [one["open"] for one in p["streams"]] for p in shape["processes"]}
    assert counted == {"p1": [1, 5], "p2": [4, 2]}


def test_status_names_processes_that_declare_something_else(started: Shell) -> None:
    other = replace(PLAN, canary="1.6.0")
    for number in range(7):
        started.declare(other, id=f"next-{number}", pid=number)
    started.declare(replace(PLAN, owner="ops"), id="plan", host="web-2")
    text = started("status").out
    assert "checkout: 7 processes declare release 1.6.0 (in force: 1.5.0)\n" in text
    assert "  web-1 0, web-1 1, web-1 2, web-1 3, web-1 4, and 2 more\n" in text
    assert "checkout: 1 process declares owner ops (in force: pay@example.com)\n  web-2" in text
    odd = started("status", "--json").json["odd"]
    assert odd[1] == {
        "rollout": "checkout",
        "release": "1.5.0",
        "differs": [{"what": "owner", "declared": "ops", "in_force": "pay@example.com"}],
        "processes": ["plan"],
        "run": None,
    }
    assert len(odd[0]["processes"]) == 7


def test_status_says_policy_and_affinity(canary: Shell) -> None:
    canary.declare(replace(PLAN, policy=Policy.KEEP, affinity=Memory.SHARED))
    canary("start", "checkout")
    assert "  keep, shared  " in canary("status").out
    current = canary("status", "--json").json["rollouts"][0]["current"]
    assert (current["policy"], current["affinity"]) == ("keep", "shared")


def test_status_keeps_showing_a_rolled_back_release_while_processes_declare_it(
    started: Shell,
) -> None:
    started("promote", "checkout", "--yes")
    started.declare(replace(PLAN, stable="1.5.0", canary="1.6.0"), id="p2")
    started("start", "checkout", "--release", "1.6.0")
    assert "checkout  promoted  100%    1.5.0" in started("status").out
    started("rollback", "checkout", "--release", "1.5.0", "--yes")
    told = (
        "checkout: 1.5.0, the stable side of 1.6.0, was rolled back; "
        "processes of 1.6.0 serve it all the same\n"
    )
    text = started("status").out
    assert "checkout  rolled back  0%      1.5.0" in text
    assert told in text
    started.declare(replace(PLAN, stable="1.5.0", canary="1.6.0"))
    text = started("status").out
    assert "rolled back  0%" not in text
    assert told in text


def test_status_of_services_with_paths_of_their_own_is_no_warning(started: Shell) -> None:
    started.declare(replace(PLAN, paths=("/orders",)), id="p2", host="orders-1", pid=12)
    text = started("status").out
    assert "checkout 1.5.0: each process goes by its own scope\n" in text
    assert "  web-1 4711: paths /checkout\n" in text
    assert "  orders-1 12: paths /orders\n" in text
    assert "declares paths" not in text
    shape = started("status", "--json").json
    assert shape["odd"] == []
    assert [(one["paths"], one["processes"]) for one in shape["scopes"]] == [
        (["/orders"], ["p2"]), (["/checkout"], ["p1"]),
    ]  # fmt: skip


def test_status_says_that_a_label_is_from_before_the_rebase(started: Shell) -> None:
    started.declare(replace(PLAN, stable="1.4.3"), id="p2")
    assert started("rebase", "checkout").code == 0
    text = started("status").out
    assert "checkout: 1 process declares stable 1.4.2 (in force: 1.4.3)\n  web-1 4711\n" in text
    assert "  that is the label from before the rebase, there is nothing to type\n" in text
    assert "canary rebase" not in text


@pytest.mark.parametrize(("text", "why"), [("", ""), ("disk full", ": disk full")])
def test_a_kill_file_of_a_host_is_shown_once(started: Shell, text: str, why: str) -> None:
    for number in range(2):
        started.declare(id=f"k{number}", host="web-7", kill_file=text)
    shown = started("status").out
    assert shown.count("KILLED on host") == 1
    assert f"KILLED on host web-7 by its kill file{why}\n" in shown
    processes = started("status", "--json").json["processes"]
    assert [process["kill_file"] for process in processes] == [None, text, text]


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_are_aligned_and_fit_the_terminal(started: Shell, columns: int) -> None:
    populate(started)
    text = CSI.sub("", on_a_terminal(started, columns, "status"))
    for head in ("ROLLOUT", "HOST"):
        title, *rows = table(text, head)
        assert rows
        # Wide characters take two cells, one index.
        assert all(len(row) <= columns for row in (title, *rows))
        starts = [match.start() for match in re.finditer(r"(?<!\S)\S", title) if match.start()]
        for row in rows:
            if row.isascii():
                assert all(row[start - 1] == " " for start in starts if start < len(row)), row
    assert ("web-1.production.eu-central-1.example.com" in text) == (columns == 120)


def test_colour_is_for_terminals_that_want_it(started: Shell) -> None:
    started("kill")
    coloured = on_a_terminal(started, 80, "status")
    assert "\x1b[31mKILLED" in coloured
    plain = on_a_terminal(started, 80, "status", NO_COLOR="1")
    assert "\x1b" not in plain
    # The ages in it may differ by a second.
    assert re.sub(r"\d+ s", "", CSI.sub("", coloured)) == re.sub(r"\d+ s", "", plain)


HOSTILE = "\x1b[2J\r\nroot logged in\x07\u202e\x9b31m" + "A" * 1_000


def harm(sent: str) -> list[str]:
    """What attacker text did to a terminal: controls, lines of its own, floods."""
    text = CSI.sub("", sent)
    controls = [c for c in text if not c.isprintable() and c != "\n"]
    lines = [line for line in text.splitlines() if line.startswith("root logged in")]
    return [*controls, *lines, *re.findall("A{601,}", text)]


def test_nothing_from_the_store_reaches_the_terminal_raw(started: Shell) -> None:
    with connect(started.url) as client:
        client.set(f"canary:{{{started.namespace}}}:kill", HOSTILE)
    for words in (("status",), ("kill", "--why", HOSTILE, "--by", HOSTILE), ("history",)):
        assert harm(on_a_terminal(started, 120, *words)) == [], words
    assert harm(started("status", "--json").out) == []


def test_the_variant_that_prints_texts_as_they_are_does_harm(canary: Shell) -> None:
    variant = ("-c", "import sys; print(sys.argv[1])")
    assert len(harm(on_a_terminal(canary, 120, HOSTILE, program=variant))) > 3


def test_hostile_values_in_the_records_themselves_are_refused_or_escaped(started: Shell) -> None:
    # Written past the codec, as whoever reaches the store could.
    with connect(started.url) as client:
        audit = client.lindex(f"canary:{{{started.namespace}}}:audit", 0)
        assert isinstance(audit, str)
        client.lpush(
            f"canary:{{{started.namespace}}}:audit", audit.replace("idle", "\\u001b[2J\\nroot")
        )
        client.hset(f"canary:{{{started.namespace}}}:state", "lineage", "\x1b[2J\nroot")
    history = started("history")
    assert "\x1b" not in history.out
    assert history.out.count("start") == 1
    state = started("status")
    assert state.code == 3
    assert "\x1b" not in state.err
    assert state.err.count("\n") == 1


def test_a_terminal_without_unicode_gets_escapes(started: Shell) -> None:
    started.declare(PLAN, host="büro")
    answer = started.process("status", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert answer.code == 0
    assert "b\\xfcro" in answer.out
