"""The examples under every server: each worker follows the kill, and nothing hangs the shutdown.

``test_rows.py`` shows at W7 that an agent which a fork leaves behind does not follow it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from canary_middleware.core.records import ProcessReport
from tests.support.clients import Visitor
from tests.support.redis import RedisServer
from tests.support.servers import LOCALHOST, Process, free_port, wait_until
from tests.system.rig import BIN, ROOT, Rig

ASGI, WSGI = "examples.plain_asgi:app", "examples.plain_wsgi:app"
COMMANDS = {
    "uvicorn": f"uvicorn {ASGI} --port PORT --workers 2",
    "hypercorn": f"hypercorn {ASGI} --bind {LOCALHOST}:PORT --workers 2",
    "granian": f"granian {ASGI} --interface asgi --port PORT --workers 2",
    "gunicorn sync": f"gunicorn {WSGI} --bind {LOCALHOST}:PORT --workers 2",
    "gunicorn gthread": f"gunicorn {WSGI} --bind {LOCALHOST}:PORT --workers 2 --threads 4",
    "gunicorn preload": f"gunicorn {WSGI} --bind {LOCALHOST}:PORT --workers 2 --preload",
    "waitress": f"waitress-serve --listen {LOCALHOST}:PORT {WSGI}",
}
WORKERS = {name: 1 if name == "waitress" else 2 for name in COMMANDS}
PATIENCE = 8.0
"""Seconds for a server to end; without requests under way none needs any."""
KEY = "a-key-of-these-tests-that-is-long-enough-to-be-one"


@dataclass
class Served:
    """What was seen of one server.

    Attributes:
        started: versions after everybody was put on canary.
        killed: versions from one second after the kill on.
        revisions: that its workers reported at the end.
        seconds: until it had ended.
        code: its exit code.
        workers: their process ids.
        left: workers that were there afterwards.
    """

    process: Process
    port: int
    started: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)
    revisions: list[int] = field(default_factory=list)
    seconds: float = 0.0
    code: int = -1
    workers: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)

    def ask(self) -> str:
        """The version that a fresh connection gets, and with it some worker."""
        with Visitor(self.port) as visitor:
            return visitor.get("/greeting").text.split()[-1]

    def many(self) -> set[str]:
        return {self.ask() for _ in range(30)}

    def stop(self) -> None:
        began = time.monotonic()
        self.process.signal(15)
        self.code = self.process.wait(PATIENCE)
        self.seconds = time.monotonic() - began
        self.left = [pid for pid in self.workers if alive(pid)]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def serve(rig: Rig, name: str, stack: ExitStack) -> Served:
    port = free_port()
    server, *rest = COMMANDS[name].replace("PORT", str(port)).split()
    env = {
        "CANARY_STORE": rig.url,
        "CANARY_NAMESPACE": rig.setup.namespace,
        "CANARY_SECRET_KEYS": KEY,
        "CANARY_SECURE": "false",
    }
    log = rig.directory / f"{name}.log"
    process = Process([str(BIN / server), *rest], log, env=env, cwd=ROOT)
    return Served(stack.enter_context(process), port)


def arrived(rig: Rig, servers: Mapping[str, Served]) -> bool:
    """Whether every worker has had a visit and reported itself."""
    for served in servers.values():
        served.many()
    return len(rig.store().processes()) == sum(WORKERS.values())


def reports(rig: Rig, served: Served) -> list[ProcessReport]:
    return [
        found for found in rig.store().processes() if os.getpgid(found.pid) == served.process.pid
    ]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Served]]:
    """All servers at once in one namespace: started, killed, reported, ended."""
    directory = tmp_path_factory.mktemp("servers")
    with (
        RedisServer(directory) as redis,
        Rig(directory, redis.url, "served") as rig,
        ExitStack() as stack,
    ):
        found = {name: serve(rig, name, stack) for name in COMMANDS}
        for served in found.values():
            served.process.wait_port(served.port, timeout=40)
        wait_until(lambda: arrived(rig, found), timeout=20, what="all workers report")
        rig.cli("start", "greeting", "--weight", "100%")
        time.sleep(1.0)
        for served in found.values():
            served.started = served.many()
        rig.cli("kill", "greeting")
        time.sleep(1.0)
        for served in found.values():
            served.killed = served.many()
        document = rig.store().load().document
        assert document is not None
        wait_until(
            lambda: {report.revision for report in rig.store().processes()} == {document.revision},
            timeout=10,
            what="all workers report the kill",
        )
        for served in found.values():
            found_here = reports(rig, served)
            served.revisions = [report.revision for report in found_here]
            served.workers = [report.pid for report in found_here]
            served.stop()
        yield found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_worker_follows_the_kill(servers: Mapping[str, Served], name: str) -> None:
    served = servers[name]
    assert (served.started, served.killed) == ({"2.0"}, {"1.0"})
    assert len(served.revisions) == WORKERS[name]
    assert len(set(served.revisions)) == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_hangs_the_shutdown(servers: Mapping[str, Served], name: str) -> None:
    served = servers[name]
    print(f"\n{name}: ended after {served.seconds:.2f} s with {served.code}")
    # uvicorn and waitress end by the very signal, as they should.
    assert served.code in (0, -15)
    assert served.seconds < 5.0
    assert served.left == []
    assert "Traceback" not in served.process.output()
