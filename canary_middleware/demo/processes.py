"""Servers as child processes: each in its own group, with a log, all ended with the demo."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from canary_middleware.demo.reaper import Reaper, kill_group
from canary_middleware.errors import CanaryError

LOCALHOST: Final = "127.0.0.1"
START_WITHIN: Final = 20.0
END_WITHIN: Final = 8.0
_LOG_LINES: Final = 40


class DemoError(CanaryError):
    """The demo cannot go on; the message says which part failed and what it said."""


def free_port() -> int:
    """A port that nobody listens on.

    Below the usual ephemeral range (32768 and up), so that no outgoing connection of the crowd
    takes it between this call and the server's ``bind``.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((LOCALHOST, port))
            return port


class Server:
    """One running command and all its children.

    Args:
        name: for messages.
        command: what to run.
        env: its whole environment.
        log: file for its output.
    """

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which ends them in order
            )

    @property
    def group(self) -> int:
        """Process id, and id of the group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise :class:`DemoError` if it has ended."""
        code = self._process.poll()
        if code is not None:
            raise DemoError(f"{self.name} ended with {code}:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log, indented."""
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"

    async def listens(self, port: int) -> None:
        """Wait until it accepts connections.

        Raises:
            DemoError: it ended, or took too long.
        """
        until = time.monotonic() + START_WITHIN
        while True:
            self.check()
            with suppress(OSError):
                _, writer = await asyncio.open_connection(LOCALHOST, port)
                writer.close()
                return
            if time.monotonic() > until:
                raise DemoError(f"{self.name} does not listen:\n{self.last_words()}")
            await asyncio.sleep(0.05)

    def ask_to_end(self) -> None:
        """SIGTERM, which servers take as: finish what runs, flush, leave."""
        self._process.send_signal(signal.SIGTERM)

    def end(self, within: float) -> None:
        """Wait for it, at most so many seconds, then make sure that no child is left."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        kill_group(self.group)
        self._process.wait()


class Processes:
    """All servers of a demo; leaving the context ends them.

    Args:
        directory: for their logs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers: list[Server] = []
        self._reaper = Reaper()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(*reversed(self._servers))
        self._reaper.close()

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Server:
        """Start one more."""
        server = Server(name, command, env, self._directory / f"{name}.log")
        self._reaper.watch(server.group)
        self._servers.append(server)
        return server

    def kill(self, server: Server) -> None:
        """SIGKILL for one and all its children, which nobody misses from then on."""
        self._gone(server, 0.0)

    def end(self, *servers: Server) -> None:
        """End those of them that are still there, all at the same time."""
        ending = [server for server in servers if server in self._servers]
        for server in ending:
            server.ask_to_end()
        until = time.monotonic() + END_WITHIN
        for server in ending:
            self._gone(server, max(0.0, until - time.monotonic()))

    def _gone(self, server: Server, within: float) -> None:
        server.end(within)
        self._reaper.forget(server.group)
        self._servers.remove(server)

    async def leave(self, *servers: Server) -> None:
        """As :meth:`end`, without blocking while they finish what runs and flush."""
        for server in servers:
            server.ask_to_end()
        for _ in range(int(END_WITHIN / 0.05)):
            if not any(server.running for server in servers):
                break
            await asyncio.sleep(0.05)
        self.end(*servers)

    def check(self) -> None:
        """Raise :class:`DemoError` if one has ended by itself."""
        for server in self._servers:
            server.check()
