"""A Redis that speaks TLS, with certificates made for the occasion."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.support.redis import RedisServer
from tests.support.servers import LOCALHOST, NotReadyError, free_port


@dataclass(frozen=True)
class Certificates:
    """Files of one authority: its own certificate, and one with its key that it issued."""

    authority: Path
    certificate: Path
    key: Path


def issue(directory: Path, name: str, *hosts: str) -> Certificates:
    """A new authority, and a certificate for these hosts."""
    authority = trustme.CA()
    issued = authority.issue_cert(*hosts)
    made = Certificates(*(directory / f"{name}.{end}" for end in ("ca", "pem", "key")))
    authority.cert_pem.write_to_path(made.authority)
    issued.private_key_pem.write_to_path(made.key)
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    return made


@dataclass(frozen=True)
class TlsRedis:
    """A server and the port where it speaks TLS; it keeps a plain one for the test itself."""

    server: RedisServer
    port: int

    def url(self, *options: str, host: str = "localhost", scheme: str = "rediss") -> str:
        return f"{scheme}://{host}:{self.port}/0?{'&'.join(options)}"


@contextmanager
def tls_redis(
    directory: Path, certificates: Certificates, *, asks_clients: bool = False
) -> Iterator[TlsRedis]:
    """A server with TLS of its own where it was built so, else behind a terminator."""
    port = free_port()
    options = [
        "--tls-port", str(port), "--tls-cert-file", str(certificates.certificate),
        "--tls-key-file", str(certificates.key),
        "--tls-ca-cert-file", str(certificates.authority),
        "--tls-auth-clients", "yes" if asks_clients else "no",
    ]  # fmt: skip
    with ExitStack() as stack:
        try:
            server = stack.enter_context(RedisServer(directory, *options))
        except NotReadyError:
            print("\nthis server was built without TLS: a terminator stands in front of it")
            server = stack.enter_context(RedisServer(directory))
            stack.enter_context(_terminator(port, server.port, certificates, asks_clients))
        yield TlsRedis(server, port)


@contextmanager
def _terminator(
    port: int, target: int, certificates: Certificates, asks_clients: bool
) -> Iterator[None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.authority)
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.verify_mode = ssl.CERT_REQUIRED if asks_clients else ssl.CERT_NONE
    ready, loop, over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def serve() -> None:
        async with await asyncio.start_server(connection, LOCALHOST, port, ssl=context):
            ready.set()
            await over.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inside, outside = await asyncio.open_connection(LOCALHOST, target)
        try:
            await asyncio.gather(_pass_on(reader, outside), _pass_on(inside, writer))
        finally:
            outside.close()
            writer.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(5), "the terminator listens"
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()
