"""Servers as subprocesses: each in its own process group, with a log, ended on every exit path."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from tests.support.reaper import kill_group, reaper

LOCALHOST = "127.0.0.1"

_choosing = Lock()
_given: set[int] = set()


class NotReadyError(AssertionError):
    """A server did not come up, or go down, in time; the message holds the end of its log."""


def free_port() -> int:
    """A port that nobody listens on.

    Below the usual ephemeral range (32768 and up), so that no outgoing connection of a load test
    takes it between this call and the server's ``bind``. Workers of pytest-xdist choose from ports
    of their own, and none is given twice, so that nobody takes one that another has chosen and
    not yet bound: where many servers start side by side that happened.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    with _choosing:
        while True:
            port = random.choice(range(15_000 + worker, 32_000, workers))
            if port not in _given and _is_free(port):
                _given.add(port)
                return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return False
    return True


def accepts(port: int, host: str = LOCALHOST) -> bool:
    """Whether somebody accepts TCP connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((host, port)) == 0


def wait_until(
    condition: Callable[[], bool], *, timeout: float = 10.0, what: str = "", every: float = 0.02
) -> float:
    """Poll until ``condition()`` holds; returns the seconds it took.

    Raises:
        NotReadyError: it did not hold within ``timeout`` seconds.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout:
            raise NotReadyError(f"not within {timeout} s: {what or condition}")
        time.sleep(every)
    return time.monotonic() - start


class Process:
    """One command, started on entry, with all its children ended on exit.

    Args:
        command: what to run.
        log: file for its standard output and error; appended to over restarts.
        env: added to this process's environment; a value of ``None`` removes the variable.
        cwd: where to run it.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(part) for part in command]
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> Self:
        assert not self.running, f"already running: {self.command}"
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.cwd,
                start_new_session=True,
            )
        reaper().watch(self._popen.pid)
        return self

    def _environment(self) -> dict[str, str]:
        merged = {**os.environ, "PYTHONUNBUFFERED": "1", **self.env}
        return {name: value for name, value in merged.items() if value is not None}

    @property
    def pid(self) -> int:
        """The process that was started, which is also the id of its group."""
        assert self._popen is not None, f"never started: {self.command}"
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def output(self) -> str:
        """Everything it has written so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def wait_port(self, port: int, timeout: float = 15.0) -> Self:
        return self._wait(lambda: accepts(port), timeout, f"port {port} is open")

    def wait_log(self, text: str, timeout: float = 15.0) -> Self:
        return self._wait(lambda: text in self.output(), timeout, f"{text!r} in the log")

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> Self:
        try:
            wait_until(lambda: not self.running or condition(), timeout=timeout, what=what)
            if not condition():
                raise NotReadyError(f"ended with {self.wait(1)} before: {what}")
        except NotReadyError as error:
            tail = self.output()[-4000:]
            raise NotReadyError(f"{error}\n$ {' '.join(self.command)}\n{tail}") from None
        return self

    def signal(self, number: int) -> None:
        """Signal the process itself, not its children; a process that is gone gets nothing."""
        assert self._popen is not None, f"never started: {self.command}"
        self._popen.send_signal(number)

    def signal_group(self, number: int) -> None:
        """Signal the process and all its children."""
        os.killpg(self.pid, number)

    def pause(self) -> None:
        self.signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal_group(signal.SIGCONT)

    def wait(self, timeout: float = 15.0) -> int:
        """Its exit code, as soon as it has ended by itself."""
        assert self._popen is not None, f"never started: {self.command}"
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise NotReadyError(
                f"still running after {timeout} s: {self.command}\n{self.output()[-4000:]}"
            ) from None

    def terminate(self, timeout: float = 15.0) -> int:
        """Ask it to end (SIGTERM), then make sure that no child is left; returns its exit code."""
        if self.running:
            self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout)
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole group; harmless when it has ended or was never started."""
        if self._popen is None:
            return
        kill_group(self._popen.pid)
        self._popen.wait()
        reaper().forget(self._popen.pid)
