"""docs/ramps.md says what is so."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

from canary_middleware.config import load
from canary_middleware.core.guards import Precaution
from canary_middleware.core.model import Rollout
from canary_middleware.core.ramp import Ramp
from canary_middleware.core.validate import rollout_problems

PAGE = Path(__file__).parents[2] / "docs" / "ramps.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_its_rollout_is_one_and_moves_by_itself() -> None:
    scope: dict[str, object] = {}
    code = blocks("python")[0].replace("\nRollout(", "\nmade = Rollout(")
    exec(compile(code, str(PAGE), "exec"), scope)
    made = scope["made"]
    assert isinstance(made, Rollout)
    assert rollout_problems([made]) == []
    assert made.ramp == Ramp.default()


def test_its_gate_is_one() -> None:
    scope: dict[str, object] = {}
    exec(
        compile(blocks("python")[1].replace("\nRamp(", "\nmade = Ramp("), str(PAGE), "exec"), scope
    )
    made = scope["made"]
    assert isinstance(made, Ramp)
    assert [step.approval for step in made.each] == [False, False, True, False]


def test_its_file_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    assert tomllib.loads(text)
    file = tmp_path / "canary.toml"
    file.write_text(text)
    found = load(file, {})
    assert found.problems == ()
    assert rollout_problems(found.rollouts) == []


def test_its_table_has_every_setting_with_its_default() -> None:
    text = PAGE.read_text(encoding="utf-8")
    plain = Ramp()
    for field in fields(Ramp):
        default = getattr(plain, field.name)
        written = {None: "none", False: "off"}.get(default, f'`"{default}"`')
        rows = [row for row in text.splitlines() if row.startswith("| `") and field.name in row]
        assert field.name == "steps" or any(
            written in row or f"| {default} |" in row for row in rows
        ), field.name


def test_it_tells_the_ceiling_as_it_is() -> None:
    assert Precaution() == Precaution(failures="50%", p99=10.0, stall=1.0, window=5)
