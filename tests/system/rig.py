"""Real servers around the site: workers, a front, the command line, the people's store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from canary_middleware import verbs
from canary_middleware.core.state import Document, Plan
from canary_middleware.stores import StateStore, open_store
from tests.support.clients import Visitor
from tests.support.redis import connect
from tests.support.servers import Process, free_port, wait_until
from tests.system.site import TESTER, Setup

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

_UVICORN = "uvicorn {app} --port {port} --timeout-keep-alive 300 --log-level warning"
_GUNICORN = "gunicorn {app} --bind 127.0.0.1:{port} --keep-alive 300 --log-level warning"
_WAITRESS = "waitress-serve --listen 127.0.0.1:{port} --channel-timeout 300 --threads 24 {app}"

SERVERS = {
    "uvicorn": ("asgi", f"{_UVICORN} --timeout-graceful-shutdown 5"),
    "uvicorn h11": ("asgi", f"{_UVICORN} --timeout-graceful-shutdown 5 --http h11"),
    "lazy uvicorn": ("asgi", f"{_UVICORN} --lifespan off"),
    "gunicorn": ("wsgi", f"{_GUNICORN} --worker-class gthread --threads 24"),
    "preloading gunicorn": ("wsgi", f"{_GUNICORN} --preload --workers 2"),
    "waitress": ("wsgi", _WAITRESS),
}
"""Kind of application and command, by server."""


class Worker:
    """One server process of the site."""

    def __init__(self, server: str, setup: Setup, log: Path, prefix: Sequence[str] = ()) -> None:
        self.server = server
        self.setup = setup
        self.kind, template = SERVERS[server]
        self.port = free_port()
        self._log = log
        self._prefix = prefix
        self._template = template
        self.process = self._process()

    def _process(self) -> Process:
        app = f"tests.system.{self.kind}_site:app"
        name, *rest = self._template.format(app=app, port=self.port).split()
        command = [*self._prefix, str(BIN / name), *rest]
        return Process(command, self._log, env=self.setup.environment(), cwd=ROOT)

    def start(self) -> Self:
        self.process.start().wait_port(self.port, timeout=30)
        return self

    def kill(self) -> None:
        self.process.kill()

    def renew(self, **changes: Any) -> None:
        """End it in good order, and start it again on its port with another setup."""
        self.process.terminate()
        self.setup = replace(self.setup, **changes)
        self.process = self._process()
        self.start()

    def heard(self) -> list[float]:
        """Monotonic times at which it heard of a kill."""
        path = Path(self.setup.heard or "")
        return [float(line) for line in path.read_text().split()] if path.is_file() else []


class Rig:
    """Everything that one test runs, ended with it.

    Args:
        directory: for logs and files.
        url: of the store that people and, by default, workers use.
        namespace: of the shop.
        setup: what all workers have in common.
    """

    def __init__(self, directory: Path, url: str, namespace: str, **setup: Any) -> None:
        self.directory = directory
        self.url = url
        self.setup = Setup(url, namespace, **setup)
        self.workers: list[Worker] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def client(self) -> redis.Redis:
        """A plain client for what people do with redis-cli."""
        return connect(self.url)

    def store(self, app: str = "shop") -> StateStore:
        store = open_store(self.url, self.setup.namespace_of(app), timeout=5.0)
        self._stack.callback(store.close)
        return store

    def worker(self, server: str, prefix: Sequence[str] = (), **changes: Any) -> Worker:
        """One more worker, not started yet."""
        number = len(self.workers)
        setup = replace(self.setup, heard=str(self.directory / f"heard-{number}"), **changes)
        worker = Worker(server, setup, self.directory / f"worker-{number}.log", prefix)
        self.workers.append(worker)
        self._stack.callback(worker.kill)
        return worker

    def serve(self, *servers: str, **changes: Any) -> list[Worker]:
        """Workers, started side by side."""
        made = [self.worker(server, **changes) for server in servers]
        start(made)
        return made

    def lazy(self, count: int, **changes: Any) -> list[int]:
        """Ports of workers that begin with their first visit."""
        ports = [free_port() for _ in range(count)]
        command = [sys.executable, "-m", "tests.system.lazy", *map(str, ports)]
        log, env = self.directory / "lazy.log", replace(self.setup, **changes).environment()
        process = self._stack.enter_context(Process(command, log, env=env, cwd=ROOT))
        for port in ports:
            process.wait_port(port, timeout=30)
        return ports

    def front(self) -> Front:
        """One address for all workers there are."""
        return self._fronted([worker.port for worker in self.workers])

    def muted(self) -> str:
        """The URL of the store for a worker whose pushes are to be lost."""
        port = int(self.url.rpartition(":")[2].partition("/")[0])
        return self.url.replace(f":{port}/", f":{self._fronted([port], 'mute').port}/")

    def _fronted(self, ports: Sequence[int], *options: str) -> Front:
        front = Front(self.directory, ports, *options)
        self._stack.enter_context(front.process)
        front.process.wait_port(front.port)
        return front

    def started(self, weight: int, app: str = "shop", *, again: bool = False) -> Document:
        """Start the rollout at a weight in 0.001 %; ``again`` after a rollback."""
        plan = Plan.from_rollout(self.setup.rollout(app))
        return verbs.start(self.store(app), app, by="test", plan=plan, weight=weight, again=again)

    def cli(
        self, *arguments: str, expected: int = 0, environ: Mapping[str, str] = os.environ
    ) -> str:
        """``canary`` as people run it, in a process of its own."""
        where = ["--store", self.url, "--namespace", self.setup.namespace]
        command = [sys.executable, "-m", "canary_middleware.cli", *arguments, *where]
        env = {**os.environ, **environ}
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=ROOT, env=env
        )
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    def all_follow(self, version: str, within: float = 5.0, path: str = "/shop/") -> float:
        """Wait until every worker gives a tester (or everybody) this version."""
        return follow(self.workers, version, within, path)

    def followed(self, store: StateStore) -> bool:
        """Whether every worker that begins with its first visit or before says that it follows."""
        document = store.load().document
        assert document is not None
        up_to_date = {
            group(process.pid)
            for process in store.processes()
            if process.revision == document.revision
        }
        return up_to_date >= {worker.process.pid for worker in self.workers}


def group(pid: int) -> int:
    """The server that a process belongs to; one that has ended belongs to none."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def start(workers: Iterable[Worker]) -> None:
    """Start workers side by side and wait for all of them."""
    workers = list(workers)
    for worker in workers:
        worker.process.start()
    for worker in workers:
        worker.process.wait_port(worker.port, timeout=30)


def seen(worker: Worker, path: str = "/shop/", user: str = TESTER) -> str:
    """The version that a tester gets from a worker now."""
    with Visitor(worker.port) as visitor:
        answer = visitor.request("GET", path, headers={"X-User": user})
    return str(json.loads(answer.body)["version"])


def follow(workers: Iterable[Worker], version: str, within: float, path: str = "/shop/") -> float:
    """Wait until all these workers give a tester this version; returns the seconds it took."""
    before = time.monotonic()
    for worker in workers:
        wait_until(
            partial(_serves, worker, version, path),
            timeout=within,
            what=f"{worker.server} serves {version}",
        )
    return time.monotonic() - before


def _serves(worker: Worker, version: str, path: str) -> bool:
    return seen(worker, path) == version


class Front:
    """The one address in front of some ports; see :mod:`tests.system.front`."""

    def __init__(self, directory: Path, ports: Iterable[int], *options: str) -> None:
        self.port = free_port()
        self._ports = directory / f"ports-{self.port}"
        self.only(ports)
        command = [sys.executable, "-m", "tests.system.front", str(self.port), str(self._ports)]
        self.process = Process([*command, *options], directory / "front.log", cwd=ROOT)

    def only(self, ports: Iterable[int]) -> None:
        """From now on new connections go to these."""
        fresh = self._ports.with_suffix(".new")
        fresh.write_text("\n".join(map(str, ports)))
        fresh.replace(self._ports)
