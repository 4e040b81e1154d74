"""The command line on a file: everything works, and a kill that cannot be written says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(f"sqlite:///{tmp_path}/canary.db", "shop", capsys)


def test_a_rollout_from_its_start_to_its_end(shell: Shell) -> None:
    shell.declare()
    for words in (
        ("start", "checkout"), ("weight", "checkout", "5%"), ("kill", "--why", "smoke"),
        ("revive", "-y"), ("promote", "checkout", "-y"), ("rollback", "checkout", "-y"),
    ):  # fmt: skip
        answer = shell(*words)
        assert (answer.code, answer.err) == (0, ""), words
    actions = [line["action"] for line in shell("history", "--json").json]
    assert actions == ["rollback", "promote", "revive", "kill", "weight", "start"]
    assert [process["id"] for process in shell("status", "--json").json["processes"]] == ["p1"]


def test_looking_creates_no_file(shell: Shell, tmp_path: Path) -> None:
    assert shell("status", "--json").json["revision"] is None
    assert shell("history").code == 0
    for words in (("status",), ("status", "--json"), ("history",)):
        assert shell(*words).err == f"canary: there is no such file yet: {tmp_path}/canary.db\n"
    refused = shell("weight", "checkout", "5%")
    assert refused.code == 1
    assert f"(there is no such file yet: {tmp_path}/canary.db; a WSGI worker" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("status",), ("history",), ("start", "checkout"), ("revive", "-y")]
)
def test_a_directory_that_is_missing_is_an_error_for_every_verb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    answer = Shell(f"sqlite:///{tmp_path}/gone/canary.db", "shop", capsys)(*words)
    expected = f"canary: cannot use the store: there is no directory {tmp_path}/gone\n"
    assert (answer.code, answer.out, answer.err) == (3, "", expected)


def test_a_kill_that_makes_the_file_says_where(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shell.url = "sqlite:///canary.db"
    created = f"canary: the store did not exist and was created: {tmp_path}/canary.db; "
    assert shell("kill").err.startswith(f"{created}is that the application's?\n")
    assert "created" not in shell("kill").err


@pytest.mark.parametrize("place", ["gone/canary.db", "folder"])
def test_a_kill_that_was_not_written_says_that_nothing_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "folder").mkdir()
    answer = Shell(f"sqlite:///{tmp_path}/{place}", "shop", capsys)("kill")
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)
    assert answer.err.endswith("; nothing was written, so nothing was killed\n")


def test_a_file_of_another_kind_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are my notes\n" * 50)
    answer = Shell(f"sqlite:///{file}", "shop", capsys)("kill")
    assert (answer.code, answer.out, answer.err.count("\n")) == (3, "", 1)
    assert "file is not a database" in answer.err
    assert file.read_text().startswith("these are my notes")


@pytest.mark.parametrize("url", ["sqlite://canary.db", "sqlite:///", "sqlite:///:memory:"])
def test_what_names_no_file_is_a_usage_error(capsys: pytest.CaptureFixture[str], url: str) -> None:
    answer = Shell(url, "shop", capsys)("status")
    assert (answer.code, answer.out) == (2, "")
    assert "sqlite:///relative/to/here.db or sqlite:////absolute/path.db" in answer.err
