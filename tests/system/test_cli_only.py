"""A kill from a machine with the command line alone: every running worker obeys within a second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from canary_middleware.core.state import EVERYTHING
from tests.support.servers import wait_until
from tests.system.cli_only import CliOnly
from tests.system.rig import Rig
from tests.system.site import CANARY, STABLE

WITHIN = 1.0
SERVERS = ("uvicorn", "gunicorn", "waitress")


@pytest.mark.alone
def test_a_kill_from_elsewhere_is_obeyed_within_a_second(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "machine").mkdir()
    machine = CliOnly(tmp_path / "machine")
    assert machine.has(["redis", "starlette", "flask", "uvicorn", "tests"]) == ["redis"]
    where = ("--store", rig.url, "--namespace", rig.setup.namespace)
    rig.started(100_000)
    workers = rig.serve(*SERVERS)
    rig.all_follow(CANARY)
    wait_until(lambda: rig.followed(rig.store()), what="reports of all workers")

    done = machine.canary("kill", "--why", "from elsewhere", *where)
    assert (done.returncode, done.stderr) == (0, "")
    document = rig.store().load().document
    assert document is not None
    struck = document.kills[EVERYTHING].at - time.time() + time.monotonic()
    wait_until(lambda: all(worker.heard() for worker in workers), what="all have heard")
    late = [worker.heard()[-1] - struck for worker in workers]
    print(
        f"\nfrom a machine with the CLI alone: heard within {1000 * max(late):.0f} ms (limit 1 s)"
    )
    assert max(late) <= WITHIN
    rig.all_follow(STABLE)

    assert machine.canary("revive", *where).returncode == 2, "nobody can be asked there"
    assert machine.canary("revive", "--yes", "--by", "ann", *where).returncode == 0
    rig.all_follow(CANARY)
    told = machine.canary("history", *where).stdout
    assert "by ann (from " in told
