"""Debian's Prometheus as an ordinary process, and what it answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

from tests.support.servers import LOCALHOST, Process, free_port, wait_until

Labels = frozenset[tuple[str, str]]


def binary(name: str) -> str:
    """``prometheus`` or ``promtool``."""
    found = shutil.which(name)
    needed = f"!!! {name} is not installed, and this is about it: apt-get install -y prometheus"
    assert found, needed
    return found


class Prometheus(Process):
    """A server of its own, with this configuration.

    Args:
        config: file; what it names by a relative path is beside it.
        folder: for its data and its log.
    """

    def __init__(self, config: Path, folder: Path) -> None:
        self.port = free_port()
        command = [
            binary("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={LOCALHOST}:{self.port}", "--log.level=warn",
        ]  # fmt: skip
        super().__init__(command, folder / "prometheus.log")

    def wait_ready(self) -> Self:
        """It listens before it has read its rules."""
        self.wait_port(self.port)
        wait_until(lambda: self._get("/-/ready")[0] == 200, what="Prometheus is ready")
        return self

    def ask(self, path: str, **parameters: object) -> Any:
        """The ``data`` of an answer of its API; an error is an :class:`AssertionError`."""
        status, body = self._get(f"/api/v1/{path}?{urlencode(parameters)}")
        assert status == 200, (path, parameters, body)
        return json.loads(body)["data"]

    def _get(self, target: str) -> tuple[int, bytes]:
        connection = HTTPConnection(LOCALHOST, self.port, timeout=20)
        try:
            connection.request("GET", target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def now(self, query: str) -> dict[Labels, float]:
        """The present value of each series of a query, by its labels."""
        found = self.ask("query", query=query)["result"]
        return {frozenset(one["metric"].items()): float(one["value"][1]) for one in found}

    def over(self, query: str, begin: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """Each series of a query, with its points since then; seconds since 1970."""
        asked = {"query": query, "start": begin, "end": end, "step": step}
        found: list[dict[str, Any]] = self.ask("query_range", **asked)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Every rule that it evaluates."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]


def adapted(source: Path, target: Path, changes: Mapping[str, str]) -> Path:
    """A copy with every change made; one that finds nothing is a mistake of the test."""
    text = source.read_text()
    for old, new in changes.items():
        assert old in text, f"{source.name} has no {old!r} any more"
        text = text.replace(old, new)
    target.write_text(text)
    return target
