"""What a process says of its server and of what it counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from canary_middleware.agent.facts import threads_of


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        ({}, False),
        ({b"http": b":80"}, False),
        ({b"enable-threads": b"true"}, True),
        ({"enable-threads": True}, True),
        ({b"enable-threads": b"false"}, False),
        ({b"threads": b"4"}, True),
        ({b"threads": b"1"}, False),
        ({b"threads": b"many"}, False),
    ],
)
def test_uwsgi_runs_threads_only_where_it_was_told_to(options: Any, runs: bool) -> None:
    assert threads_of(SimpleNamespace(opt=options)) is runs


@pytest.mark.parametrize("module", [None, SimpleNamespace(), SimpleNamespace(opt=7)])
def test_other_servers_run_threads_without_saying_so(module: Any) -> None:
    assert threads_of(module) is None
