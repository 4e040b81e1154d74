"""docs/api.md: its commands are run as they stand, its tables are those of the code."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canary_middleware.panel.action import VERBS
from canary_middleware.panel.api.table import DESCRIPTION, OPERATIONS
from canary_middleware.panel.failing import MEANINGS
from canary_middleware.panel.problems import CODES
from tests.panel import stages
from tests.panel.api_client import Description
from tests.panel.rig import ALICE, ROOT, Panel

TEXT = (ROOT / "docs" / "api.md").read_text()


def commands(text: str) -> Iterator[str]:
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from block.strip().splitlines()


def shown(word: str) -> Any:
    """The one JSON block with this word."""
    (found,) = [text for text in re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL) if word in text]
    return json.loads(found)


def run(command: str, directory: Path, panel: Panel) -> tuple[str, str, Any]:
    """Method, path and answer of a curl command."""
    done = subprocess.run(
        ["sh", "-euc", command], cwd=directory, env={"PANEL": panel.url, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), command
    found = re.search(r'"\$PANEL([^"]+)"', command)
    assert found is not None
    method = "POST" if re.search(r" -d | -X POST ", command) else "GET"
    return method, found[1], json.loads(done.stdout)


def checked(description: Description, method: str, path: str, answer: Any) -> None:
    operation = description.operation(method, path)
    assert operation is not None, path
    ((_, content),) = operation["responses"]["200"]["content"].items()
    description.validate(content["schema"]["$ref"], answer)


def test_its_commands_do_what_it_says(panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "auth").write_text(f"Authorization: Bearer {panel.tokens[ALICE]}\n")
    store, description = panel.store(), Description(panel)
    stages.declared(store, "checkout")
    steps, _, errors = TEXT.partition("## Errors")
    done = []
    for command in commands(steps):
        method, path, answer = run(command, tmp_path, panel)
        if path != f"/api{DESCRIPTION}":
            checked(description, method, path, answer)
        done += [path.rsplit("/", 1)[-1]] if method == "POST" else []
        if path.endswith("/weight"):
            assert list(answer) == list(shown('"phase": "paused"'))
    assert [line.action for line in reversed(store.history(None, 20))] == done
    assert done == ["start", "weight", "resume", "rollback", "kill", "kill", "revive", "revive"]
    ((_, _, problem),) = [run(command, tmp_path, panel) for command in commands(errors)]
    assert problem == shown("wieght")
    store.close()


def rows(text: str, columns: int) -> list[list[str]]:
    found = [re.findall(r"[^|]+", line) for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in found if len(row) == columns]


def test_its_tables_are_those_of_the_code() -> None:
    _, _, text = TEXT.partition("## Routes")
    routes, _, errors = text.partition("## Errors")
    expected = [[one.method, f"`{one.path}`", one.says, one.role.value] for one in OPERATIONS]
    assert rows(routes, 4)[2:] == expected
    fields = [[f"`{v}`", ", ".join(f"`{f}`" for f in sort.fields)] for v, sort in VERBS.items()]
    assert rows(routes, 2)[2:] == fields
    told = {(int(row[0]), row[1].strip("`")) for row in rows(errors, 3)[2:]}
    own = {(one.status, one.code) for one in MEANINGS} | {(403, "forged")}
    assert own <= told
    assert {code for _, code in told} == {code for _, code in own} | {*CODES.values()}


@pytest.mark.parametrize("secret", ["cnp_", "Bearer"])
def test_no_command_has_a_token_in_it(secret: str) -> None:
    assert not [command for command in commands(TEXT) if secret in command]
