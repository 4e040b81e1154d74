from __future__ import annotations

from pathlib import Path

import pytest

from canary_middleware.agent.disk import Disk
from canary_middleware.errors import StoreCorruptError
from tests.agent.held import started


def test_what_was_written_is_read_and_nothing_else_stays(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "folder"
    disk = Disk(directory, "shop")
    assert disk.read() is None
    disk.write(started())
    disk.write(started("cd34"))
    assert Disk(directory, "shop").read() == started("cd34")
    assert Disk(directory, "other").read() is None
    assert [path.name for path in directory.iterdir()] == ["shop.json"]


@pytest.mark.parametrize("text", [b"", b"{}", b'{"schema":1', b"\xff", b"x" * 2**20])
def test_a_damaged_snapshot_is_refused_as_a_whole(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "shop.json").write_bytes(text)
    with pytest.raises(StoreCorruptError):
        Disk(tmp_path, "shop").read()


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    disk = Disk(tmp_path, "shop")
    disk.write(started())
    state = tmp_path / "shop.json"
    state.unlink()
    state.mkdir()
    with pytest.raises(OSError, match="shop"):
        disk.write(started("cd34"))
    assert [path.name for path in tmp_path.iterdir()] == ["shop.json"]


def test_the_kill_file_kills_by_its_presence(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "absent", "shop")
    assert disk.kill_reason() is None
    disk = Disk(tmp_path, "shop")
    assert disk.kill_reason() is None
    kill = tmp_path / "shop.kill"
    kill.write_bytes(b"")
    assert disk.kill_reason() == ""
    kill.write_bytes(b"smoke \xff")
    assert disk.kill_reason() == "smoke \ufffd"
    kill.write_bytes(b"\x1b[2J" + b"line\r\n" * 200)
    shown = disk.kill_reason() or ""
    assert shown.isprintable()
    assert len(shown) <= 200
    kill.unlink()
    kill.mkdir()
    assert "cannot be read" in (disk.kill_reason() or "")
    file = tmp_path / "file"
    file.touch()
    assert Disk(file, "shop").kill_reason() is None
