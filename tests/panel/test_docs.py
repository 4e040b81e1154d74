"""The code in docs/panel.md runs, and its figures are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.panel import bodies, limits, serving, sessions, tokens
from tests.panel.screenshots import SIZES, THEMES

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "panel.md").read_text()


def test_the_mounted_panel_of_the_page_can_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    made: dict[str, Any] = {}
    exec(compile(block, "docs/panel.md", "exec"), made)
    assert [route.path for route in made["app"].routes][-1] == "/ops/canary"
    made["canary"].stop()


@pytest.mark.parametrize(("said", "is_so"), [
    ("lasts twelve hours", sessions.LIFE == 12 * 3600),
    ("begins with `cnp_`", tokens.PREFIX == "cnp_"),
    ("a bucket of ten, one more each 30 s", (limits.BURST, limits.EVERY) == (10, 30.0)),
    ("at most 256 connections", serving.MOST_CONNECTIONS == 256),
    ("15\nseconds to arrive", serving.PATIENCE == 15),
    ("its body 64 KiB and ten seconds", (bodies.LARGEST, bodies.PATIENCE) == (65_536, 10.0)),
])  # fmt: skip
def test_a_figure_of_the_page_is_that_of_the_code(said: str, is_so: bool) -> None:
    assert said in TEXT
    assert is_so


def test_every_picture_is_shown_and_there_in_both_themes_and_sizes() -> None:
    pictures = {
        f"{page}-{theme}-{size}.jpg"
        for page in ("overview", "rollout") for theme in THEMES for size in SIZES
    }  # fmt: skip
    assert {file.name for file in (DOCS / "screenshots").iterdir()} == pictures
    assert set(re.findall(r"\(screenshots/([^)]+)\)", TEXT)) == pictures
