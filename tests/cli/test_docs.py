"""docs/cli.md in step with the program: verbs and exit codes; tests/cli/test_json.py has shapes."""

from __future__ import annotations

import re
from pathlib import Path

from canary_middleware.cli import app, failing, following

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()


def test_every_verb_and_exit_code_is_in_the_page() -> None:
    assert [verb for verb in app.cli.commands if f"\ncanary {verb} " not in TEXT] == []
    codes = {
        0, failing.REFUSED, failing.USAGE, failing.UNREACHABLE, failing.NOT_PERSISTED,
        failing.UNWRITTEN,
        following.INTERRUPTED, following.UNDER_WAY,
    }  # fmt: skip
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)} == codes
