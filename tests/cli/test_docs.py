"""docs/cli.md in step with the program: verbs, exit codes, and the shapes that it promises."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.cli import app, failing, following
from canary_middleware.core.records import OpenStreams
from canary_middleware.core.state import Plan
from tests.cli.conftest import PLAN, Shell

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
SECRET = "b" * 32


def promised(verb: str) -> Any:
    """The JSON block below the line that begins with that command."""
    found = re.search(
        rf"^`canary {verb} [^\n]*\n.*?```json\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL
    )
    assert found, verb
    return json.loads(found[1])


def keys(value: Any, at: str = "") -> set[str]:
    """Every member, as ``kills.scope``; members of ``declares`` have free names."""
    if isinstance(value, list):
        return set().union(*(keys(item, at) for item in value))
    if not isinstance(value, dict) or at.endswith("declares."):
        return set()
    names = {at + name for name in value}
    return names.union(*(keys(member, f"{at}{name}.") for name, member in value.items()))


def test_every_verb_and_exit_code_is_in_the_page() -> None:
    assert [verb for verb in app.cli.commands if f"\ncanary {verb} " not in TEXT] == []
    codes = {
        0, failing.REFUSED, failing.USAGE, failing.UNREACHABLE, failing.NOT_PERSISTED,
        following.INTERRUPTED, following.UNDER_WAY,
    }  # fmt: skip
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)} == codes


def test_every_shape_has_the_promised_names(
    started: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_BUCKET_SECRET", SECRET)
    monkeypatch.setenv("CANARY_SECRET_KEYS", SECRET)
    started.declare(Plan("1", "2"), rollout="search", id="p2")
    streams = (OpenStreams("checkout", "1.5.0", 2, 2, 3.7),)
    odd = replace(PLAN, stable="1.4.3", paths=("/orders",))
    started.declare(odd, id="p3", streams=streams, silent=(("checkout", "1.5.0", "it said 503"),))
    said = {
        "weight": started("weight", "checkout", "5%", "--json"),
        "token": started("token", "checkout", "canary", "--for", "2h", "--json"),
        "explain": started("explain", "checkout", "--subject", "alice", "--json"),
        "kill": started("kill", "--json"),
        "status": started("status", "--json"),
        "history": started("history", "--json"),
        "revive": started("revive", "--yes", "--json"),
    }
    for verb, answer in said.items():
        found = {name for name in keys(answer.json) if not re.match(r"rollouts\.releases\.", name)}
        if verb == "revive":
            found = {name for name in found if not name.startswith("rollouts.")}
        assert found == keys(promised(verb)), verb
