from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import NotReadyError, Process, accepts, free_port, wait_until

ROOT = Path(__file__).parents[2]
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, flush=True)
time.sleep(60)
"""
ORPHANING_RUN = """
import sys, time
from pathlib import Path
from tests.support.servers import Process
server = Process([sys.executable, "-c", {family!r}], Path(sys.argv[1])).start()
server.wait_log("child")
print(server.pid, flush=True)
time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has waited for does not."""
    ps = ["ps", "-o", "stat=", "-p", str(pid)]
    state = subprocess.run(ps, check=False, capture_output=True, text=True).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_process_and_its_children_end_when_a_test_fails(tmp_path: Path) -> None:
    server = Process([sys.executable, "-c", FAMILY], tmp_path / "log")
    with pytest.raises(NotReadyError, match="never comes"), server:
        server.wait_log("child").wait_log("never comes", timeout=0.1)
    assert not server.running
    wait_until(lambda: not alive(int(server.output().split()[1])))


def test_a_killed_test_run_leaves_nothing_behind(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    script = ORPHANING_RUN.format(family=FAMILY)
    env = {"PYTHONPATH": str(ROOT)}
    with Process([sys.executable, "-c", script, log], tmp_path / "run.log", env=env) as run:
        run.wait_log("\n")
        server = int(run.output())
        child = int(log.read_text().split()[1])
        assert alive(server)
        assert alive(child)
        os.kill(run.pid, signal.SIGKILL)
        wait_until(lambda: not alive(server) and not alive(child))


def test_readiness_by_port_and_the_exit_code(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with Process(command, tmp_path / "log", cwd=tmp_path) as server:
        server.wait_port(port)
        assert accepts(port)
        assert server.terminate() == -signal.SIGTERM
    assert not accepts(port)


def test_a_server_that_fails_to_start_shows_its_log_at_once(tmp_path: Path) -> None:
    script = "import sys; sys.exit('port already in use')"
    server = Process([sys.executable, "-c", script], tmp_path / "log")
    with server, pytest.raises(NotReadyError, match=r"(?s)ended with 1.*port already in use"):
        server.wait_port(free_port())


def test_the_environment_can_be_added_to_and_taken_from(tmp_path: Path) -> None:
    script = "import os; print(os.environ.get('HOME'), os.environ['EXTRA'])"
    env = {"HOME": None, "EXTRA": "yes"}
    with Process([sys.executable, "-c", script], tmp_path / "log", env=env) as server:
        assert server.wait() == 0
        assert server.output() == "None yes\n"
