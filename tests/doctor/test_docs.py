"""docs/doctor.md in step with the program: findings and their levels, and the shape of --json."""

from __future__ import annotations

import json
import re
from pathlib import Path

from canary_middleware.cli.doctor import doctor
from canary_middleware.doctor.finding import Kind
from tests.doctor.cases import CASES
from tests.doctor.test_checks import APPLICATIONS

TEXT = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
ROWS = re.findall(r"^\| `([a-z]+\.[a-z-]+)` \| ([a-z, ]+) \| (.+) \|$", TEXT, re.MULTILINE)


def test_every_finding_is_there_once_with_its_levels() -> None:
    told = {kind: set(levels.split(", ")) for kind, levels, _ in ROWS}
    seen: dict[str, set[str]] = {kind.value: set() for kind in Kind}
    for case in CASES:
        seen[case.kind.value].add(case.level.name.lower())
    for kind, level, _ in APPLICATIONS:
        seen[kind.value].add(level.name.lower())
    assert told == seen
    assert len(ROWS) == len(Kind)


def test_every_option_is_there() -> None:
    own = {option for one in doctor.params for option in one.opts} - {
        "--store", "--namespace", "--config",
    }  # fmt: skip
    assert {*re.findall(r"^\| `(--[a-z]+)", TEXT, re.MULTILINE)} == own


def test_the_json_is_of_the_shape_that_is_printed() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    found = json.loads(shown)
    assert found.keys() == {"namespace", "level", "findings"}
    assert found["findings"][0].keys() == {"kind", "level", "what", "why", "remedy", "where"}
