"""Will spans be tagged? Asked of real processes whose instrumentation stands in each place."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from canary_middleware import verbs
from canary_middleware.cli import main
from canary_middleware.core.state import Plan
from canary_middleware.stores import StateStore, open_store
from tests.support.clients import Visitor
from tests.support.redis import SharedRedis
from tests.support.servers import Process, free_port, wait_until
from tests.system.rig import ROOT

PLAN = Plan("1.0", "2.0", ("/shop",))
ORDERS = ("outside", "inside", "processor", "unsampled")


def followed(store: StateStore) -> bool:
    document = store.load().document
    assert document is not None
    reports = [one for one in store.processes() if one.revision == document.revision]
    return len(reports) == len(ORDERS)


def test_each_place_of_the_instrumentation_is_told_apart(
    tmp_path: Path,
    shared_redis: SharedRedis,
    namespace: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    pids = {}
    with ExitStack() as stack:
        store = open_store(shared_redis.url, namespace, timeout=5.0)
        stack.callback(store.close)
        verbs.start(store, "shop", by="test", plan=PLAN, weight=50_000)
        running = []
        for order in ORDERS:
            port = free_port()
            env = {"ORDER": order, "NAMESPACE": namespace, "STORE": shared_redis.url}
            command = [
                sys.executable, "-m", "uvicorn", "tests.doctor.traced_site:app", "--port",
                str(port), "--log-level", "warning",
            ]  # fmt: skip
            process = Process(command, tmp_path / f"{order}.log", env=env, cwd=ROOT)
            running.append((port, stack.enter_context(process)))
            pids[process.pid] = order
        for port, process in running:
            process.wait_port(port, timeout=30)
            with Visitor(port) as visitor:
                for _ in range(25):
                    assert visitor.request("GET", "/shop/").status == 200
        verbs.weight(store, "shop", 60_000, by="test")
        wait_until(lambda: followed(store), what="all have reported since")
        assert (
            main(["doctor", "--json", "--store", shared_redis.url, "--namespace", namespace]) == 0
        )
        found = {}
        for one in json.loads(capsys.readouterr().out)["findings"]:
            if one["kind"].startswith("spans."):
                found[one["kind"]] = [pids[int(where.split()[1])] for where in one["where"]]
                if one["kind"] == "spans.ok":
                    assert one["what"] == "2 processes: spans are tagged"
    assert found == {"spans.untagged": ["inside"], "spans.unsampled": ["unsampled"], "spans.ok": []}
