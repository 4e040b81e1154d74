"""A small OpenTelemetry receiver: a server that takes OTLP over HTTP and counts it by version.

Protocol: https://opentelemetry.io/docs/specs/otlp/ (OTLP/HTTP, binary protobuf, gzip or plain). It
runs in a thread (:class:`Receiver`) or as a process of its own
(``python -m canary_middleware.demo.receiver``), where ``GET /counts`` answers the counts as JSON
and ``DELETE /counts`` begins anew.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import zlib
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from canary_middleware.demo.otlp import Point, Span, decode_points, decode_spans
from canary_middleware.demo.received import Received

__all__ = ["Point", "Received", "Receiver", "Span", "main"]

MAX_BODY: Final = 64 * 1024 * 1024


class MalformedError(ValueError):
    """A body that is not what its headers say."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/counts":
            self._answer(404, b"", "text/plain")
            return
        self._answer(200, json.dumps(self.server.received.summary()).encode(), "application/json")

    def do_DELETE(self) -> None:
        self.server.received.forget()
        self._answer(200, b"", "text/plain")

    def do_POST(self) -> None:
        try:
            answer = self._take(self._body())
        except (MalformedError, DecodeError, zlib.error) as error:
            self._answer(400, str(error).encode(), "text/plain")
        else:
            status = 404 if answer is None else 200
            self._answer(status, answer or b"", "application/x-protobuf")

    def _take(self, body: bytes) -> bytes | None:
        received = self.server.received
        if self.path == "/v1/traces":
            received.add(spans=decode_spans(body))
            return ExportTraceServiceResponse().SerializeToString()
        if self.path == "/v1/metrics":
            received.add(points=decode_points(body))
            return ExportMetricsServiceResponse().SerializeToString()
        return None

    def _body(self) -> bytes:
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > MAX_BODY:
            # What follows cannot be told from the next request.
            self.close_connection = True
            raise MalformedError(f"Content-Length {size!r} is not a size up to {MAX_BODY}")
        body = self.rfile.read(int(size))
        return _unzipped(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is inherited
        """Write nothing: a request per export is noise."""


def _unzipped(body: bytes) -> bytes:
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = unzip.decompress(body, MAX_BODY)
    if not unzip.eof:
        raise MalformedError("cut short, or larger than it may be")
    return plain


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.received = Received()
        super().__init__((host, port), _Handler)


class Receiver:
    """A receiver in a thread of this process.

    Args:
        host: address to listen on.
        port: 0 for any free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = _Server(host, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="otlp-receiver", daemon=True
        )

    @property
    def received(self) -> Received:
        """What has come in."""
        return self._server.received

    @property
    def url(self) -> str:
        """The value for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the first line on standard output is the address."""
    parser = argparse.ArgumentParser(prog="canary_middleware.demo.receiver")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args(argv)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with Receiver(arguments.host, arguments.port) as receiver:
        print(f"receiving at {receiver.url}", flush=True)
        over.wait()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
