"""CPU per proxied request ÷ that of a minimal proxy over a well-known client on the same server.

Every proxy is a process of its own and all stand at once; the load goes to one after the other,
round after round, and what a proxy used in a round is what /proc says of it (user and system time
of all its threads). Origin and client are processes too and are not counted. All of it is loopback
HTTP/1.1 with 64 keep-alive connections; the origin writes an answer in one piece. The figures are
of whole servers, so that each ratio holds for that server only: uvicorn with httptools and
granian, both with one worker and asyncio's event loop; gunicorn with one worker of eight threads.

``python -m benchmarks.upstream [ROUNDS [PART OF A NAME]]``
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

from benchmarks.measure import ratio_line
from tests.support.servers import Process, free_port

ROUNDS = 9
SMALL, LARGE = 1_000, 100_000
REQUESTS = {SMALL: 3_000, LARGE: 1_500}
SLOW = 10
"""How many times fewer of them for whom is only there for orientation, and takes seconds."""
THREADS = 8
AT_LARGE = ("ours, uvicorn", "aiohttp, uvicorn", "nginx")
MEGABYTES = 10.0
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
UVICORN = "-m uvicorn --http httptools --loop asyncio --no-access-log --factory --port {port} {app}"
GRANIAN = (
    "-m granian --interface asgi --loop asyncio --workers 1 --no-access-log --factory"
    " --port {port} {app}"
)
GUNICORN = (
    "-m gunicorn --worker-class gthread --workers 1 --threads {threads} --bind 127.0.0.1:{port}"
    " {app}()"
)
NGINX = """
{user}
daemon off; pid {folder}/nginx.pid; worker_processes 1; error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}
}}
"""


class Contender(NamedTuple):
    """A proxy to be measured.

    Attributes:
        name: in the table.
        command: words of Python; ``{port}`` and ``{app}`` stand for what they say. Empty: nginx.
        app: a factory.
        needs: packages, or a program.
        slow: by how much fewer requests are enough.
    """

    name: str
    command: str
    app: str
    needs: str
    slow: int = 1


def contenders() -> dict[str, Contender]:
    """All of them, by what the table calls them."""
    asgi, wsgi = "benchmarks.upstream_asgi:", "benchmarks.upstream_wsgi:"
    found = [
        Contender("uvicorn", UVICORN, f"{asgi}bare", "uvicorn"),
        Contender("ours, uvicorn", UVICORN, f"{asgi}ours", "uvicorn"),
        Contender("aiohttp, uvicorn", UVICORN, f"{asgi}by_aiohttp", "uvicorn aiohttp"),
        Contender(
            "fastapi-proxy-lib",
            UVICORN,
            f"{asgi}by_fastapi_proxy_lib",
            "uvicorn fastapi_proxy_lib",
            SLOW,
        ),
        Contender("granian", GRANIAN, f"{asgi}bare", "granian"),
        Contender("ours, granian", GRANIAN, f"{asgi}ours", "granian"),
        Contender("aiohttp, granian", GRANIAN, f"{asgi}by_aiohttp", "granian aiohttp"),
        Contender("gunicorn", GUNICORN, f"{wsgi}bare", "gunicorn"),
        Contender("ours, gunicorn", GUNICORN, f"{wsgi}ours", "gunicorn"),
        Contender("urllib3, gunicorn", GUNICORN, f"{wsgi}by_urllib3", "gunicorn urllib3"),
        Contender("nginx", "", "", "nginx"),
    ]
    return {contender.name: contender for contender in found}


def nginx() -> str | None:
    """The program, which lies beside the path of most users."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def is_here(contender: Contender) -> bool:
    """Whether it can be started; says so if not."""
    if contender.command:
        missing = [name for name in contender.needs.split() if find_spec(name) is None]
    else:
        missing = [] if nginx() else [contender.needs]
    for name in missing:
        print(f"!!   upstream, {contender.name}: LEFT OUT, {name} is not installed", flush=True)
    return not missing


class Usage(NamedTuple):
    """What a process and its children have used.

    Attributes:
        seconds: user and system time.
        memory: resident megabytes.
    """

    seconds: float
    memory: float


def usage(group: int) -> Usage:
    """Of a process group, all threads included."""
    ticks = pages = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[2]) == group:
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return Usage(ticks / TICK, pages * PAGE / 1e6)


class Load:
    """The client."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def hear(self, word: str, proxy: Proxy) -> None:
        assert self._process.stdout is not None
        heard = self._process.stdout.readline().strip()
        assert heard == word, f"{heard!r} instead of {word}\n{proxy.output()[-3000:]}"

    def cost(self, proxy: Proxy, length: int) -> float:
        """CPU seconds of a proxy for one of many requests for so many bytes."""
        requests = REQUESTS[length] // proxy.slow
        self.tell(f"{proxy.port} {length} {requests}")
        self.hear("warm", proxy)
        before = proxy.usage().seconds
        self.tell("go")
        self.hear("done", proxy)
        return (proxy.usage().seconds - before) / requests


@contextmanager
def load() -> Iterator[Load]:
    command = [sys.executable, "-m", "benchmarks.upstream_load"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Load(process)
        finally:
            process.kill()


class Proxy:
    """A contender that runs."""

    def __init__(self, contender: Contender, origin: int, folder: Path) -> None:
        self.port = free_port()
        self.slow = contender.slow
        self._process = Process(
            python(contender, self.port) if contender.command else web(folder, self.port, origin),
            folder / f"{contender.name}.log",
            env={"ORIGIN": f"http://127.0.0.1:{origin}"},
        )

    def __enter__(self) -> Self:
        self._process.start().wait_port(self.port)
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()

    def output(self) -> str:
        return self._process.output()

    def usage(self) -> Usage:
        return usage(self._process.pid)


def python(contender: Contender, port: int) -> list[str]:
    words = contender.command.split()
    filled = [word.format(port=port, app=contender.app, threads=THREADS) for word in words]
    return [sys.executable, *filled]


def web(folder: Path, port: int, origin: int) -> list[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, origin=origin, user=user))
    return [str(nginx()), "-p", str(folder), "-e", "stderr", "-c", str(config)]


class Found(NamedTuple):
    """Medians.

    Attributes:
        cost: CPU seconds per request, by name and bytes of the answer.
        memory: resident megabytes at the end, by name.
    """

    cost: dict[tuple[str, int], float]
    memory: dict[str, float]


def measure(rounds: int, chosen: Sequence[Contender]) -> Found:
    """Each round asks each contender for small answers and then for large ones."""
    samples: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder, origin = Path(name), free_port()
        command = [sys.executable, "-m", "benchmarks.upstream_origin", str(origin)]
        stack.enter_context(Process(command, folder / "origin.log")).wait_port(origin)
        client = stack.enter_context(load())
        proxies = {one.name: stack.enter_context(Proxy(one, origin, folder)) for one in chosen}
        for _ in range(rounds):
            for length in (SMALL, LARGE):
                for title, proxy in proxies.items():
                    if length == SMALL or title in AT_LARGE:
                        cost = client.cost(proxy, length)
                        samples.setdefault((title, length), []).append(cost)
        memory = {title: proxy.usage().memory for title, proxy in proxies.items()}
    return Found({key: median(costs) for key, costs in samples.items()}, memory)


RATIOS = (
    ("uvicorn, 1 kB", "ours, uvicorn", "aiohttp, uvicorn", SMALL, 0.70),
    ("granian, 1 kB", "ours, granian", "aiohttp, granian", SMALL, 0.55),
    ("uvicorn, 100 kB", "ours, uvicorn", "aiohttp, uvicorn", LARGE, 0.85),
    ("gunicorn gthread, 1 kB", "ours, gunicorn", "urllib3, gunicorn", SMALL, 0.80),
    ("uvicorn, 1 kB", "ours, uvicorn", "fastapi-proxy-lib", SMALL, None),
    ("uvicorn, 1 kB", "ours, uvicorn", "nginx", SMALL, None),
    ("uvicorn, 100 kB", "ours, uvicorn", "nginx", LARGE, None),
    ("uvicorn, 1 kB", "ours, uvicorn", "uvicorn", SMALL, None),
    ("granian, 1 kB", "ours, granian", "granian", SMALL, None),
    ("gunicorn gthread, 1 kB", "ours, gunicorn", "gunicorn", SMALL, None),
)
"""Where, who, against whom, bytes of an answer, target. A server's own name is the server alone."""


def lines(found: Found) -> Iterator[str]:
    """The table."""
    cost, memory = found
    for title, ours, peer, length, target in RATIOS:
        if (ours, length) in cost and (peer, length) in cost:
            yield ratio_line(
                f"proxied by {title}", cost[ours, length], cost[peer, length], target, peer
            )
    for server in ("uvicorn", "granian", "gunicorn"):
        if f"ours, {server}" in memory:
            more = memory[f"ours, {server}"] - memory[server]
            mark = "ok  " if more <= MEGABYTES else "OVER"
            yield f"{mark} memory over {server} alone: {more:.1f} MB  (target {MEGABYTES:.0f} MB)"


def main(rounds: int = ROUNDS, only: str = "") -> list[str]:
    """Measure whoever can be started, or those whose name contains some text."""
    chosen = [one for one in contenders().values() if only in one.name and is_here(one)]
    return list(lines(measure(rounds, chosen)))


if __name__ == "__main__":
    print("\n".join(main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS, "".join(sys.argv[2:3]))))
