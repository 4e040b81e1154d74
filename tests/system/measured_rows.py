"""Rows of FAULTS.md for measured rollouts: people, outsiders, and processes that die or stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from canary_middleware import verbs
from canary_middleware.core.state import Phase, Plan
from canary_middleware.stores import open_store
from tests.support.clients import NAVIGATION, Connection, Cookies
from tests.support.fault_proxy import reset
from tests.support.servers import LOCALHOST, Process, free_port
from tests.system.measured import Site
from tests.system.measured_leaks import LEAKS, leaked
from tests.system.measured_rows_site import NAMESPACE, OTLP, STALL, STORE, rollout
from tests.system.people import People, page_of
from tests.system.rig import BIN, ROOT

SITE = "tests.system.measured_rows_site"
COMMANDS = {
    "asgi": f"uvicorn {SITE}:app --port {{port}} --log-level critical",
    "wsgi": f"gunicorn {SITE}:wsgi_app --bind 127.0.0.1:{{port}} --worker-class gthread"
    " --threads 48 --log-level critical",
}


class Fleet(Site):
    """Workers of the site of these rows.

    Args:
        directory: for logs.
        url: of the store.
        namespace: in it.
        kinds: of the workers, ``asgi`` or ``wsgi``.
        through: URL of the store for the workers, if it is another one.
        otlp: where their telemetry goes.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        namespace: str,
        kinds: Sequence[str] = ("asgi",) * 4,
        *,
        through: str | None = None,
        otlp: str | None = None,
    ) -> None:
        self.store = open_store(url, namespace, timeout=5.0)
        self.kinds = {free_port(): kind for kind in kinds}
        self.ports = [*self.kinds]
        env = {STORE: through or url, NAMESPACE: namespace, OTLP: otlp}
        self.processes = [
            self._process(directory, port, {**env, "CANARY_ROWS_KIND": kind})
            for port, kind in self.kinds.items()
        ]

    def _process(self, directory: Path, port: int, env: dict[str, str | None]) -> Process:
        name, *rest = COMMANDS[self.kinds[port]].format(port=port).split()
        log = directory / f"rows-{port}.log"
        return Process([str(BIN / name), *rest], log, env=env, cwd=ROOT)

    def start(self, *names: str) -> None:
        for name in names:
            verbs.start(self.store, name, by="test", plan=Plan.from_rollout(rollout(name)))

    def of(self, kind: str) -> list[int]:
        """Ports of the workers of a kind."""
        return [port for port, found in self.kinds.items() if found == kind]

    def by_pid(self, pid: int) -> tuple[int, Process]:
        """A worker and its port."""
        both = zip(self.ports, self.processes, strict=True)
        return next((port, process) for port, process in both if process.pid == pid)

    def whys(self, name: str) -> dict[str, str]:
        """What was done to a release, and why it was."""
        return {line.action: line.why for line in reversed(self.store.history(name, 100))}


async def until(missing: Callable[[], object], seconds: float) -> float:
    """Wait until nothing is missing in what the store knows; returns the seconds it took."""
    begun = time.monotonic()
    while lacking := await asyncio.to_thread(missing):
        assert time.monotonic() - begun < seconds, f"after {seconds} s still {lacking}"
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


# --- W17: outsiders -------------------------------------------------------------------------------


@dataclass
class Outsider:
    """Somebody with cookies of one version, who does all that a client can do wrong.

    Attributes:
        port: of the worker.
        name: of the rollout.
        done: how often what was done.
    """

    port: int
    name: str
    done: Counter[str] = field(default_factory=Counter)

    async def cookies(self, count: int, cohort: str = "canary") -> list[Cookies]:
        """The cookies of so many visitors of a version: whoever gets the other one comes again."""
        found: list[Cookies] = []
        while len(found) < count:
            jar, connection = Cookies(), Connection(self.port)
            headers = {**NAVIGATION, "Connection": "close"}
            response = await connection.request("POST", f"/{self.name}", headers)
            connection.close()
            jar.take(response)
            page = page_of(response.body)
            assert page["reason"] == "weight", page
            if page["cohort"] == cohort:
                found.append(jar)
        return found

    async def attack(self, count: int, kinds: Iterable[str]) -> None:
        """As so many visitors of the canary, one kind after the other."""
        jars = await self.cookies(count)
        for kind in kinds:
            # More at once would be load, which hits whoever comes at that time, and not an error.
            few = asyncio.Semaphore(count if kind in PATIENT else 6)
            await asyncio.gather(*(self._do(kind, jar, few) for jar in jars))
            self.done[kind] += count

    async def _do(self, kind: str, jar: Cookies, few: asyncio.Semaphore) -> None:
        async with few:
            reader, writer = await asyncio.open_connection(LOCALHOST, self.port)
            try:
                await ATTACKS[kind](self, reader, writer, jar)
            except (OSError, EOFError):
                pass  # the server has had enough of it
            finally:
                reset(writer)

    def head(self, what: str, jar: Cookies, *lines: str, method: str = "POST") -> bytes:
        """The head of a request."""
        sent = {"Host": f"{LOCALHOST}:{self.port}", **NAVIGATION, **jar.header()}
        fields = [f"{name}: {value}" for name, value in sent.items()]
        first = f"{method} /{self.name}?{what} HTTP/1.1"
        return "\r\n".join([first, *fields, *lines, "", ""]).encode()

    async def missing(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """What makes a 404."""
        writer.write(self.head("missing", jar, "Content-Length: 0"))
        line = await reader.readline()
        assert b" 404 " in line, line

    async def aborted(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """Half a body, and away."""
        writer.write(self.head("body", jar, "Content-Length: 1000") + b"." * 500)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)

    async def slow(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """A body that takes longer to come than any answer may."""
        writer.write(self.head("body", jar, "Content-Length: 1000") + b"." * 500)
        await asyncio.sleep(2.0)
        writer.write(b"." * 500)
        line = await reader.readline()
        assert b" 200 " in line, line

    async def malformed(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """A chunked body that is none; in two pieces, so that the application waits for it."""
        writer.write(self.head("body", jar, "Transfer-Encoding: chunked") + b"4\r\nfour\r\n")
        await asyncio.sleep(0.1)
        writer.write(b"nonsense\r\n")
        await reader.read(1000)

    async def wait(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """An answer that comes as late as in a stall."""
        writer.write(self.head("wait", jar, "Content-Length: 0"))
        await reader.readline()

    async def reset(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, jar: Cookies
    ) -> None:
        """Away in the middle of a long answer."""
        writer.write(self.head("long", jar, method="GET"))
        await reader.readexactly(1000)


ATTACKS = {
    "missing": Outsider.missing,
    "aborted": Outsider.aborted,
    "slow": Outsider.slow,
    "malformed": Outsider.malformed,
    "reset": Outsider.reset,
    "wait": Outsider.wait,
}
PATIENT = ("slow", "wait")
MISTAKES = ("missing", "aborted", "slow", "malformed", "reset")


async def stall(port: int) -> float:
    """W9: one request to stable stops the loop of a worker; returns how long it took."""
    (jar,) = await Outsider(port, "stalled").cookies(1, "stable")
    connection, begun = Connection(port), time.monotonic()
    headers = {**NAVIGATION, **jar.header(), "Connection": "close"}
    await connection.request("POST", "/stalled?stall", headers)
    connection.close()
    return time.monotonic() - begun


# --- one fleet, many releases ---------------------------------------------------------------------

BAD = {"hang": "errors", "page": "broken", "leak-apart": "errors", "one-bad": "errors",
       "strict": "missing", "choking": "choked"}  # fmt: skip
"""Releases that go back, and the guard that sees it: W10, and what shows that the rest can fail."""
INNOCENT = ("both-bad", "stalled", "attacked", "attacked-wsgi", "leak-unseen")
VISITED = ("hang", "page", *LEAKS, "both-bad", "one-bad", "all-bad", "strict", "choking")
RELEASES = (*BAD, *INNOCENT, "leak", "all-bad", "rare", "nobody")
WARM = 4.0


@dataclass
class Rows:
    """Everything about releases that one fleet can show at the same time."""

    fleet: Fleet
    cookies: int = 30
    report: list[str] = field(default_factory=list)

    async def run(self) -> None:
        fleet = self.fleet
        people = People(fleet.of("asgi"), [*VISITED, *["attacked", "stalled"] * 3], rate=120.0)
        others = People(fleet.of("wsgi"), ["attacked-wsgi"], rate=25.0)
        few = People(fleet.of("asgi"), ["rare"], rate=2.0)
        crowds = [asyncio.create_task(one.run(90.0)) for one in (people, others, few)]
        try:
            await self._story(people)
        finally:
            for one in (people, others, few):
                one.stopped = True
            await asyncio.gather(*crowds)
        assert (people.broken, others.broken, few.broken) == ([], [], [])

    async def _story(self, people: People) -> None:
        fleet, begun = self.fleet, time.monotonic()
        await asyncio.sleep(WARM)
        await asyncio.to_thread(fleet.start, *RELEASES)
        started = time.time()
        await until(self._unknown, 40)
        outsiders = await self._outside()
        await until(self._missing, 30)
        await asyncio.sleep(2.0)  # what was done last is booked and judged
        self._judge(outsiders, started)
        self.report += leaked(fleet, people, started)
        # What the stalls did to both sides, done to one of them: the row above can fail.
        await Outsider(fleet.of("asgi")[0], "stalled").attack(self.cookies, ["wait"])
        await until(lambda: fleet.phase("stalled") is not Phase.ROLLED_BACK, 10)
        (line,) = fleet.history("stalled", "rollback")
        self.report.append(f"W9: no rollback after two stalls; of the canary alone: {line.why}")
        self.report.append(f"rows of one fleet took {time.monotonic() - begun:.0f} s")

    def _unknown(self) -> list[str]:
        """Of whose stable nobody knows yet how long its answers take."""
        names = ("attacked", "attacked-wsgi", "stalled")
        return [name for name in names if self.fleet.entry(name).baseline is None]

    async def _outside(self) -> list[Outsider]:
        one, two, *_ = self.fleet.of("asgi")
        (gunicorn,) = self.fleet.of("wsgi")
        outsiders = [Outsider(one, "attacked"), Outsider(gunicorn, "attacked-wsgi")]
        stalls = asyncio.create_task(self._stalls(one, two))
        await asyncio.gather(
            *(outsider.attack(self.cookies, MISTAKES) for outsider in outsiders),
            Outsider(two, "strict").attack(self.cookies, ["missing"]),
            Outsider(two, "choking").attack(self.cookies, ["aborted"]),
        )
        took = await stalls
        assert min(took) >= STALL
        return outsiders

    async def _stalls(self, *ports: int) -> list[float]:
        return [await stall(port) for port in ports]

    def _missing(self) -> list[str]:
        fleet = self.fleet
        ends = dict.fromkeys(BAD, Phase.ROLLED_BACK)
        ends |= dict.fromkeys(("leak", "all-bad"), Phase.PAUSED)
        ends |= dict.fromkeys(("rare", "nobody"), Phase.HOLDING)
        return [f"{name} {end}" for name, end in ends.items() if fleet.phase(name) is not end]

    def _judge(self, outsiders: list[Outsider], started: float) -> None:
        fleet, report = self.fleet, self.report
        for name, guard in BAD.items():
            (line,) = fleet.history(name, "rollback")
            assert [one["guard"] for one in line.evidence["guards"] if one["breach"]] == [guard]
            report.append(f"{name}: {line.at - started:.1f} s after the start: {line.why}")
        for name in INNOCENT:
            assert not fleet.history(name, "rollback"), (name, fleet.history(name, "rollback"))
            assert fleet.entry(name).weight >= 20_000, fleet.whys(name)
        done = {one.name: dict(one.done) for one in outsiders}
        report.append(f"W17: 0 rollbacks (limit 0) after {done}")
        (line,) = fleet.history("all-bad", "precaution")
        assert fleet.entry("all-bad").weight == 0
        assert "without blame" in line.why
        assert not fleet.history("all-bad", "rollback")
        report.append(f"W13: {line.at - started:.1f} s after the start: {line.why}")
        said = {"rare": "of at least 1,000 canary", "nobody": "no canary visitor was measured"}
        for name, words in said.items():
            (line,) = fleet.history(name, "hold")
            assert words in line.why
            assert not fleet.history(name, "advance")
            report.append(f"W14 {name}: {line.why}")


def rows(fleet: Fleet, cookies: int = 30) -> list[str]:
    """W9, W10, W13, W14, W17 side by side."""
    made = Rows(fleet, cookies)
    asyncio.run(made.run())
    return made.report
