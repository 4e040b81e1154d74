"""A store of one's own: as an argument of ``Canary``, and under the tests of docs/stores.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from canary_middleware import Canary, ConfigurationError, Rollout, verbs
from canary_middleware.core.model import Reason
from canary_middleware.stores import Loaded
from canary_middleware.stores.sqlite import SqliteStore
from tests.support.servers import wait_until

ROOT = Path(__file__).parents[2]
KEY = "k" * 32
CHECKOUT = Rollout("checkout", stable="1", canary="2")


class Counted(SqliteStore):
    """Written elsewhere, as far as ``Canary`` can see."""

    loads = 0

    def load(self) -> Loaded:
        self.loads += 1
        return super().load()


def test_a_ready_store_is_followed(tmp_path: Path) -> None:
    store = Counted(tmp_path / "canary.db", "shop")
    canary = Canary(CHECKOUT, namespace="shop", store=store, secret_keys=[KEY])
    assert canary.store is store
    canary.arrive_blocking()
    try:
        verbs.kill(store, by="me", why="")
        wait_until(
            lambda: canary.engine.snapshot.lanes[0].gate is Reason.KILL_SWITCH, what="the kill"
        )
        assert store.loads
    finally:
        canary.stop()


def test_what_is_no_store_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="is no store"):
        Canary(CHECKOUT, namespace="shop", store=object(), secret_keys=[KEY])


def test_the_page_shows_how_to_check_one(tmp_path: Path) -> None:
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "stores.md").read_text(), re.DOTALL
    )
    (tmp_path / "test_mine.py").write_text(block)
    some = "untouched or creates or first_claim or holds_it or last_word or once_whoever"
    options = ["-q", "-p", "no:cacheprovider", "-k", some, "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", *options, str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
