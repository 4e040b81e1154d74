"""What a process says of its server and of what it counted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from canary_middleware.agent.facts import threads_of


@pytest.mark.parametrize(("told", "runs"), [(0, False), (1, True), (True, True), (False, False)])
def test_uwsgi_says_whether_threads_run(told: Any, runs: bool) -> None:
    assert threads_of(SimpleNamespace(has_threads=told)) is runs


@pytest.mark.parametrize("module", [None, SimpleNamespace(), SimpleNamespace(has_threads="yes")])
def test_other_servers_run_threads_without_saying_so(module: Any) -> None:
    assert threads_of(module) is None
