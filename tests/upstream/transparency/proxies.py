"""The proxies that are compared: nginx, and ours in the servers that people run.

Each has four upstreams, chosen by the first segment of the path: the origin; ``/short``, the origin
with time-outs below a second; ``/dead``, a port that refuses; ``/full``, one that does not answer
at all, as its queue of connections is full.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.nginx import configured
from tests.support.servers import Process, free_port
from tests.upstream.transparency import rules
from tests.upstream.transparency.compare import Rules

ROOT: Final = Path(__file__).parents[3]
HERE: Final = "tests.upstream.transparency"
NGINX: Final = """
    upstream origin {{ server 127.0.0.1:{origin} max_fails=0; keepalive 64; }}
    upstream dead   {{ server 127.0.0.1:{dead} max_fails=0; }}
    upstream full   {{ server 127.0.0.1:{full} max_fails=0; }}

    merge_slashes off;
    underscores_in_headers on;
    large_client_header_buffers 8 128k;
    client_max_body_size 0;

    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_set_header X-Forwarded-Host $http_host;
    proxy_set_header Forwarded "";
    proxy_pass_header Date;
    proxy_pass_header Server;
    proxy_pass_header X-Accel-Redirect;
    proxy_pass_header X-Accel-Expires;
    proxy_pass_header X-Accel-Buffering;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Buffering;
    proxy_redirect off;
    proxy_buffering off;
    proxy_request_buffering off;
    proxy_buffers 8 128k;
    proxy_buffer_size 128k;
    proxy_busy_buffers_size 256k;

    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://origin; }}
        location /short/ {{
            proxy_read_timeout 500ms;
            proxy_send_timeout 500ms;
            proxy_pass http://origin;
        }}
        location /dead/ {{ proxy_pass http://dead; }}
        location /full/ {{ proxy_connect_timeout 300ms; proxy_pass http://full; }}
    }}
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """How to start it, and what it may change."""

    name: str
    command: Callable[[Path, int, dict[str, str]], list[str]]
    rules: Rules


@asynccontextmanager
async def started(proxy: Proxy, origin: int) -> AsyncIterator[int]:
    """The proxy before the origin of that port, as a process of its own; gives its port."""
    with tempfile.TemporaryDirectory() as name, _full() as full:
        folder, port = Path(name), free_port()
        ports = {"ORIGIN": str(origin), "DEAD": str(free_port()), "FULL": str(full)}
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        command = proxy.command(folder, port, ports)
        with Process(
            command, folder / "log", env={**ports, "PYTHONPATH": path}, cwd=folder
        ) as process:
            await asyncio.to_thread(process.wait_port, port)
            try:
                yield port
            finally:
                text = process.output()
                if os.environ.get("SHOW_LOG"):
                    print(text[-20_000:], file=sys.stderr)


@contextmanager
def _full() -> Iterator[int]:
    """A port whose queue of connections is full: whoever connects waits for nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


def _nginx(folder: Path, port: int, ports: dict[str, str]) -> list[str]:
    lower = {name.lower(): value for name, value in ports.items()}
    return configured(folder, NGINX.format(port=port, **lower))


def _python(*words: str) -> Callable[[Path, int, dict[str, str]], list[str]]:
    """A server of Python; ``{port}`` stands for the port."""

    def command(folder: Path, port: int, ports: dict[str, str]) -> list[str]:
        return [sys.executable, "-m", *(word.format(port=port) for word in words)]

    return command


def _hypercorn(folder: Path, port: int, ports: dict[str, str]) -> list[str]:
    file = folder / "hypercorn.toml"
    file.write_text("include_date_header = false\ninclude_server_header = false\n")
    options = ["--bind", f"127.0.0.1:{port}", "--config", str(file), ASGI]
    return [sys.executable, "-m", "hypercorn", *options]


ASGI: Final = f"{HERE}.serve_asgi:application"
WSGI: Final = f"{HERE}.serve_wsgi:application"
UVICORN: Final = (
    "uvicorn", "--port", "{port}", "--http", "httptools", "--no-date-header",
    "--no-server-header", "--no-proxy-headers",
)  # fmt: skip
GUNICORN: Final = (
    "gunicorn", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread", "--threads", "40",
    "--limit-request-line", "8190", "--limit-request-field_size", "65535",
    "--forwarded-allow-ips", "192.0.2.1",
)  # fmt: skip
GRANIAN: Final = ("granian", "--interface", "asgi", "--port", "{port}")
WAITRESS: Final = ("waitress", "--listen", "127.0.0.1:{port}", "--threads", "40")
GATEWAYS: Final = f"{HERE}.serve_gateways"
PROXIES: Final = {
    proxy.name: proxy
    for proxy in (
        Proxy("nginx", _nginx, rules.NGINX),
        Proxy("uvicorn", _python(*UVICORN, ASGI), rules.UVICORN),
        Proxy("uvicorn-gateway", _python(*UVICORN, f"{GATEWAYS}:asgi"), rules.UVICORN),
        Proxy("uvicorn-canary", _python(*UVICORN, f"{GATEWAYS}:asgi_canary"), rules.UVICORN_CANARY),
        Proxy("hypercorn", _hypercorn, rules.HYPERCORN),
        Proxy("granian", _python(*GRANIAN, ASGI), rules.GRANIAN),
        Proxy("gunicorn", _python(*GUNICORN, WSGI), rules.GUNICORN),
        Proxy("gunicorn-gateway", _python(*GUNICORN, f"{GATEWAYS}:wsgi"), rules.GUNICORN),
        Proxy(
            "gunicorn-canary", _python(*GUNICORN, f"{GATEWAYS}:wsgi_canary"), rules.GUNICORN_CANARY
        ),
        Proxy("waitress", _python(*WAITRESS, WSGI), rules.WAITRESS),
    )
}
