"""Lines of token files, and the file that they stand in."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import pytest

from canary_middleware.errors import ConfigurationError
from canary_middleware.panel.people import Person, Role
from canary_middleware.panel.token_file import TokenFile
from canary_middleware.panel.tokens import LONGEST_NAME, MOST_LINES, find, mint, parse, written

ALICE = Person("alice", Role.OPERATE)
BOB = Person("Bob of the night shift", Role.VIEW)


def test_makes_tokens_of_256_random_bits_that_scanners_recognise() -> None:
    made = {mint() for _ in range(100)}
    assert len(made) == 100
    assert all(token.startswith("cnp_") and len(token) == 4 + 43 for token in made)


def test_lets_in_by_the_token_whose_hash_is_there_and_by_no_other() -> None:
    alice, bob = mint(), mint()
    text = f"# the night\n\n{written(ALICE, alice)}\r\n  {written(BOB, bob)}  \n"
    lines, problems = parse(text, "t")
    assert not problems
    assert [line.person for line in lines] == [ALICE, BOB]
    found = find(lines, bob)
    assert found is not None
    assert found.person == BOB
    assert find(lines, mint()) is None
    assert alice not in text


def test_never_compares_what_is_no_token_of_ours() -> None:
    # Somebody's password, hashed by hand: it could be guessed, so it does not count.
    lines, problems = parse(f"eve view sha256:{hashlib.sha256(b'hunter2').hexdigest()}", "t")
    assert not problems
    assert find(lines, "hunter2") is None
    for strange in ("", "cnp_", "cnp_" + "x" * 44, "é" * 47, "cnp_" + "\n" * 43, "\0", "x" * 10**6):
        assert find(lines, strange) is None


def test_tells_every_problem_with_its_line_and_repeats_no_secret() -> None:
    token = mint()
    digest = written(ALICE, token).split()[-1]
    text = "\n".join([
        "just words", f"alice admin {digest}", "bob view md5:abc", f"carol view {token}",
        f"{'x' * (LONGEST_NAME + 1)} view {digest}", f"a\x1b[31m view {digest}",
        f"alice view {digest}", f"again view {digest}",
    ])  # fmt: skip
    lines, problems = parse(text, "t")
    assert [line.person.name for line in lines] == ["alice"]
    assert [one.place for one in problems] == [f"t:{line}" for line in (1, 2, 3, 4, 5, 6, 8)]
    told = "".join(map(str, problems))
    assert token not in told
    assert digest not in told
    assert "burnt" in str(problems[3])
    assert all(one.hint for one in problems)


def test_bounds_the_number_of_lines() -> None:
    text = "\n".join(f"p{n} view sha256:{n:064x}" for n in range(MOST_LINES + 5))
    lines, problems = parse(text, "t")
    assert len(lines) == MOST_LINES
    assert "check" in problems[0].hint


class Here:
    """A token file and a wall clock that stands still after its last change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ahead = 10.0

    def write(self, *lines: str, mode: int = 0o600) -> None:
        self.path.write_text("".join(f"{line}\n" for line in lines))
        self.path.chmod(mode)

    def wall(self) -> float:
        return self.path.stat().st_mtime + self.ahead if self.path.exists() else 0.0


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path / "panel.tokens")


def names(file: TokenFile) -> list[str]:
    return [line.person.name for line in file.lines()]


def test_reads_the_file_again_when_it_changes(here: Here) -> None:
    alice, bob = written(ALICE, mint()), written(BOB, mint())
    here.write(alice)
    file = TokenFile(here.path, here.wall)
    assert names(file) == ["alice"]
    here.write(alice, bob)
    assert names(file) == ["alice", BOB.name]
    replaced = here.path.with_suffix(".new")
    replaced.write_text(f"{bob}\n")
    replaced.chmod(0o600)
    replaced.replace(here.path)
    assert names(file) == [BOB.name]


def test_sees_a_second_change_within_one_tick_of_the_clock_of_files(here: Here) -> None:
    one, other = (
        written(Person("one", Role.VIEW), mint()),
        written(Person("two", Role.VIEW), mint()),
    )
    here.write(one)
    here.ahead = 0.5
    file = TokenFile(here.path, here.wall)
    before = here.path.stat()
    with here.path.open("r+") as same:  # the same size, inode and, after utime, time
        same.write(other)
    os.utime(here.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert names(file) == ["two"]


def test_lets_nobody_in_while_the_file_is_away_or_no_text(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    alice = written(ALICE, mint())
    here.write(alice)
    file = TokenFile(here.path, here.wall)
    here.path.unlink()
    for _ in range(3):
        assert names(file) == []
    assert "does not exist" in file.trouble
    assert len(caplog.records) == 1
    here.path.write_bytes(b"\xff\xfe")
    here.path.chmod(0o600)
    assert names(file) == []
    here.write(alice)
    assert names(file) == ["alice"]
    assert file.trouble == ""


def test_keeps_the_lines_that_can_be_read_when_one_is_spoiled(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    # A typo during an incident must not lock everybody out.
    alice = written(ALICE, mint())
    here.write(alice)
    file = TokenFile(here.path, here.wall)
    here.write(alice, "bob viwe sha256:1")
    assert names(file) == ["alice"]
    assert f"{here.path}:2" in caplog.text


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_believes_no_file_that_others_may_write(here: Here, mode: int) -> None:
    here.write(written(ALICE, mint()), mode=mode)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        TokenFile(here.path, here.wall)
    here.path.chmod(0o600)
    file = TokenFile(here.path, here.wall)
    here.path.chmod(mode)
    assert names(file) == []
    here.path.chmod(0o600)
    assert names(file) == ["alice"]


def test_warns_of_a_file_that_everybody_may_read(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    here.write(written(ALICE, mint()), mode=0o644)
    with caplog.at_level(logging.WARNING):
        file = TokenFile(here.path, here.wall)
        assert names(file) == ["alice"]
    assert caplog.text.count("chmod 600") == 1


def test_refuses_to_start_without_anybody(here: Here) -> None:
    with pytest.raises(ConfigurationError, match="canary panel token"):
        TokenFile(here.path, here.wall)
    here.write("# nobody yet")
    with pytest.raises(ConfigurationError, match="lets nobody in"):
        TokenFile(here.path, here.wall)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(ConfigurationError, match="is no file"):
            TokenFile(path)
