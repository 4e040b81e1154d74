"""The metrics of a shop's process for a Prometheus: on a port of its own, told in a file."""

from __future__ import annotations

import os
from pathlib import Path

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import start_http_server

from canary_middleware.demo.processes import LOCALHOST
from canary_middleware.demo.targets import announce


class Scraped:
    """The metrics of this process, served until it ends.

    Args:
        prefix: path of the file that names the port, without its end: each process has its own.
        shop: label of all its series.

    Attributes:
        reader: for the meter provider; its shutdown takes the metrics away, not the port.
    """

    def __init__(self, prefix: str, shop: str) -> None:
        self.reader = PrometheusMetricReader()
        # Any free port: workers of one shop are told the same, and cannot share one.
        self._server, self._thread = start_http_server(0, LOCALHOST)
        self._file = Path(f"{prefix}-{shop}-{os.getpid()}.json")
        announce(self._file, f"{LOCALHOST}:{self._server.server_port}", shop)

    def end(self) -> None:
        """Take back the file and the port."""
        self._file.unlink(missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
