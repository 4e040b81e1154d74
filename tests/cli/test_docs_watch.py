"""docs/watch.md in step with the program: the screen, the sentences and the shapes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from canary_middleware.cli import following
from canary_middleware.cli.drawing import Paper, draw
from canary_middleware.overview import shapes
from canary_middleware.overview.progress import progress
from canary_middleware.overview.wording import instant
from tests.cli.scenes import NOW, ROLLED_BACK, VIEW, WHY, scene

TEXT = (Path(__file__).parents[2] / "docs" / "watch.md").read_text()
SCREEN, STATUS, HISTORY, PIPELINE = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)
EVIDENCE, LOOK = map(json.loads, re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL))


def test_the_screen_is_one_that_is_drawn() -> None:
    drawn = [line.text for line in draw(scene(VIEW), Paper(80))]
    assert [line for line in SCREEN.splitlines() if line not in drawn] == []


def test_the_status_is_one_that_is_told() -> None:
    assert list(progress(VIEW, NOW)) == STATUS.splitlines()


def test_the_history_tells_what_was_done() -> None:
    assert f"by {ROLLED_BACK.by}: {WHY}\n" in HISTORY
    assert HISTORY.startswith(instant(NOW - 20))


def test_evidence_has_the_promised_names() -> None:
    assert EVIDENCE.keys() == ROLLED_BACK.evidence.keys()
    charged = ROLLED_BACK.evidence["guards"][4]
    (promised,) = EVIDENCE["guards"]
    assert promised.keys() == charged.keys()
    for name in ("guard", "kind", "of", "canary", "stable", "log_e", "breach"):
        assert promised[name] == charged[name]


def test_a_look_has_the_promised_names() -> None:
    found: Any = shapes.scene(scene(VIEW))
    (rollout,), (promised,) = found["rollouts"], LOOK["rollouts"]
    assert LOOK.keys() == found.keys()
    assert promised.keys() == rollout.keys()
    assert promised["ramp"] == rollout["ramp"]
    assert promised["measured"].keys() == rollout["measured"].keys()
    assert promised["measured"]["standing"] == rollout["measured"]["standing"]
    version = rollout["measured"]["versions"][0]
    assert promised["measured"]["versions"][0].keys() == version.keys()


def test_the_exit_codes_of_a_pipeline_are_told() -> None:
    assert "--wait" in PIPELINE
    codes = {following.PROMOTED, following.NOT_PROMOTED, following.UNDER_WAY, following.INTERRUPTED}
    assert codes < {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
