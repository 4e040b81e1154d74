"""The stage: store, receiver of telemetry, two shops, a search, a panel, ``canary`` processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from canary_middleware.core.state import Document
from canary_middleware.demo.guest import Guest
from canary_middleware.demo.pieces import server_binary
from canary_middleware.demo.processes import LOCALHOST, DemoError, Processes, Server, free_port
from canary_middleware.demo.targets import withdraw
from canary_middleware.errors import StoreError
from canary_middleware.stores import StateStore, open_store

PATIENCE: Final = 2.0
WORKERS: Final = 2
"""Of each shop."""

_STRANGE: Final = ("OTEL_", "GUNICORN_", "UVICORN_", "CANARY_", "WEB_CONCURRENCY", "FORWARDED_")
"""Beginnings of variables that would make the demo another one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Which demo to play.

    Attributes:
        store: URL of a Redis; ``None`` for one of its own.
        visitors: how many distinct ones come.
        keep: go on after the summary until somebody stops it.
        pace: seconds for which a ramp holds a weight at least.
        patience: seconds for all three releases to end.
        seconds: duration of each scene after them.
        fastapi: the ASGI shop, as uvicorn's ``--factory`` takes it.
        flask: the WSGI shop, as gunicorn takes it.
        search: the new search of both, as uvicorn's ``--factory`` takes it.
        prometheus: where processes say on which port a Prometheus finds their metrics; ``None`` for
            a directory that is gone with the demo.
    """

    store: str | None = None
    visitors: int = 3000
    keep: bool = False
    pace: int = 6
    patience: float = 100.0
    seconds: float = 3.5
    fastapi: str = "canary_middleware.demo.fastapi_shop:create_app"
    flask: str = "canary_middleware.demo.flask_shop:create_app()"
    search: str = "canary_middleware.demo.search_server:create_app"
    prometheus: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One command that changed the control state; monotonic seconds of its begin and its end."""

    command: str
    begun: float
    over: float
    output: str


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs.

    Attributes:
        store: reads the control state.
        url: of the store.
        namespace: of both shops.
        ports: of the shops, the FastAPI one first.
        receiver: port of the OTLP receiver.
        processes: all servers.
        shops: those two of them.
        search: the one of them that is the new search of both shops.
        search_url: where it is.
        env: of every process.
        targets: of a Prometheus, as a pattern of files.
        guest: who may sign in to the panel.
    """

    store: StateStore
    url: str
    namespace: str
    ports: tuple[int, int]
    receiver: int
    processes: Processes
    shops: tuple[Server, Server]
    search: Server
    search_url: str
    env: dict[str, str]
    targets: str
    guest: Guest

    async def workers(self) -> set[int]:
        """Process ids of the workers that follow the store."""
        reports = await asyncio.to_thread(self.store.processes)
        return {report.pid for report in reports}

    async def canary(self, *arguments: str) -> Change:
        """Run one ``canary`` command in a process of its own.

        Raises:
            DemoError: it failed.
        """
        begun = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "canary_middleware.cli", *arguments,
            env=self.env, start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        command, text = f"canary {' '.join(arguments)}", output.decode(errors="replace").strip()
        if process.returncode != 0:
            raise DemoError(f"{command} ended with {process.returncode}: {text}")
        return Change(command, begun, time.monotonic(), text)

    async def struck_at(self) -> float:
        """Monotonic seconds at which the kill in force was written, by its own account."""
        loaded = await asyncio.to_thread(self.store.load)
        kills = loaded.document.kills.values() if loaded.document else ()
        if not kills:
            raise DemoError("there is no kill in the store after `canary kill`")
        return max(kill.at for kill in kills) - time.time() + time.monotonic()


@asynccontextmanager
async def build(setting: Setting) -> AsyncIterator[Stage]:
    """Start everything; leaving the context ends it.

    Raises:
        DemoError: something did not start.
        StoreError: the given store cannot be used.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="canary-demo-")))
        # In a store that is somebody else's the demo meets nothing, and leaves nothing behind.
        namespace = "demo" if setting.store is None else f"demo-{secrets.token_hex(4)}"
        if setting.store is not None:
            await asyncio.to_thread(_open(setting.store, namespace).load)
            stack.callback(_sweep, setting.store, namespace)
        processes = stack.enter_context(Processes(directory))
        url = setting.store or await _start_store(processes, directory)
        store = _open(url, namespace)
        stack.callback(store.close)
        ports, receiver = (free_port(), free_port()), free_port()
        behind, guest = free_port(), Guest.of(free_port())
        search_url = f"http://{LOCALHOST}:{behind}"
        targets = _targets(setting, directory)
        stack.callback(withdraw, targets)
        env = _environment(url, namespace, receiver, setting.pace, search_url, targets)
        listening = processes.start("receiver", _receiver(receiver), env)
        search = processes.start("search", _uvicorn(setting.search, behind, workers=1), env)
        panel = processes.start("panel", guest.command(directory), env)
        shops = (
            processes.start("fastapi", _uvicorn(setting.fastapi, ports[0]), _beside(env, ports[1])),
            processes.start("flask", _gunicorn(setting.flask, ports[1]), _beside(env, ports[0])),
        )
        stack.callback(processes.end, *shops)  # before what they flush to, and report to
        await asyncio.gather(
            listening.listens(receiver),
            search.listens(behind),
            panel.listens(guest.port),
            *(shop.listens(port) for shop, port in zip(shops, ports, strict=True)),
        )
        yield Stage(
            store, url, namespace, ports, receiver, processes, shops, search, search_url, env,
            f"{targets}-*.json", guest,
        )  # fmt: skip


def _open(url: str, namespace: str) -> StateStore:
    return open_store(url, namespace, connect_timeout=PATIENCE, timeout=PATIENCE)


async def _start_store(processes: Processes, directory: Path) -> str:
    port = free_port()
    command = [
        server_binary(), "--port", str(port), "--bind", LOCALHOST,
        "--save", "", "--appendonly", "no", "--dir", str(directory),
    ]  # fmt: skip
    server = processes.start("valkey", command, os.environ)
    await server.listens(port)
    return f"redis://{LOCALHOST}:{port}/0"


def _sweep(url: str, namespace: str) -> None:
    """Remove everything that a demo leaves under its own namespace."""
    from redis import Redis, RedisError

    names = ["state", "audit", "kill", "processes", "heard", "lease"]
    with suppress(StoreError):  # whoever took the store away took the keys with it
        document = _open(url, namespace).load().document
        names += _measured(document) if document is not None else ()
    client = Redis.from_url(url, socket_connect_timeout=PATIENCE, socket_timeout=PATIENCE)
    with client, suppress(RedisError):
        client.delete(*(f"canary:{{{namespace}}}:{name}" for name in names))


def _measured(document: Document) -> Iterator[str]:
    for rollout, state in document.rollouts.items():
        yield f"series:{rollout}"
        yield f"slots:{rollout}"
        for release, entry in state.entries.items():
            for kind in ("totals", "written", "folded"):
                yield f"{kind}:{rollout}:{release}"
            yield f"firsts:{rollout}:{release}:{entry.run}"
            yield f"entered:{rollout}:{release}:{entry.run}"
            yield f"entered:{rollout}:{release}:{entry.run}:other"


def _targets(setting: Setting, directory: Path) -> Path:
    """How the files begin; a directory may be that of several demos."""
    place = Path(setting.prometheus or directory).absolute()
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"{place} cannot be made: {error.strerror}") from None
    return place / f"canary-demo-{os.getpid()}"


def _environment(
    url: str, namespace: str, receiver: int, pace: int, search: str, targets: Path
) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_STRANGE)}
    return {
        **inherited,
        "PYTHONUNBUFFERED": "1",
        "NO_COLOR": "1",
        # The way to the receiver leads through no proxy.
        "NO_PROXY": LOCALHOST,
        "no_proxy": LOCALHOST,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{LOCALHOST}:{receiver}",
        # Not on command lines, where everybody on the host reads them.
        "CANARY_STORE": url,
        "CANARY_NAMESPACE": namespace,
        "CANARY_DEMO_KEY": secrets.token_urlsafe(32),
        "CANARY_DEMO_PACE": str(pace),
        "CANARY_DEMO_SEARCH": search,
        "CANARY_DEMO_TARGETS": str(targets),
    }


def _beside(env: dict[str, str], port: int) -> dict[str, str]:
    return {**env, "CANARY_DEMO_NEIGHBOUR": f"http://{LOCALHOST}:{port}"}


def _receiver(port: int) -> Sequence[str]:
    return [sys.executable, "-m", "canary_middleware.demo.receiver", "--port", str(port)]


def _uvicorn(app: str, port: int, workers: int = WORKERS) -> Sequence[str]:
    return [
        sys.executable, "-m", "uvicorn", "--factory", app, "--host", LOCALHOST, "--port", str(port),
        "--workers", str(workers), "--log-level", "warning", "--no-access-log",
        "--timeout-graceful-shutdown", "5",
    ]  # fmt: skip


def _gunicorn(app: str, port: int) -> Sequence[str]:
    return [
        sys.executable, "-m", "gunicorn", "-c", "python:canary_middleware.demo.gunicorn_conf",
        "--bind", f"{LOCALHOST}:{port}", "--workers", str(WORKERS), "--threads", "16",
        "--keep-alive", "30", "--graceful-timeout", "5", "--log-level", "warning", app,
    ]  # fmt: skip


def without_password(url: str) -> str:
    """A URL that may be shown."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", ":***@") if parts.password else url
