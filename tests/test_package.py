"""The root of the package: every public name is there, and none costs anything unasked."""

from __future__ import annotations

import subprocess
import sys

import pytest

import canary_middleware


def test_every_public_name_is_found_where_it_lives() -> None:
    for name in canary_middleware.__all__:
        assert getattr(canary_middleware, name).__name__ == name
        assert name in dir(canary_middleware)


def test_a_name_that_is_none_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="'canary_middleware' has no attribute 'Cannary'"):
        canary_middleware.__getattr__("Cannary")


def test_an_upstream_alone_brings_neither_judge_nor_agent() -> None:
    """8 MB of 10 that a proxying process may take over a bare server were the rest of us."""
    code = """
import sys
import canary_middleware.upstream.asgi, canary_middleware.upstream.wsgi
print(*sorted(name for name in sys.modules if name.startswith("canary_middleware.")))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "canary_middleware.upstream.wsgi" in loaded
    parts = ("agent", "core.judge", "stores", "telemetry", "canary")
    unasked = [f"canary_middleware.{part}" for part in parts]
    assert [name for name in loaded if name.startswith(tuple(unasked))] == []


def test_an_application_without_webhooks_loads_neither_http_nor_tls() -> None:
    code = """
import sys
from canary_middleware import Canary, Rollout
Canary(Rollout("checkout", stable="1", canary="2"), secret_keys=["k" * 32])
print(*sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "canary_middleware.agent.alerting" in loaded
    assert not {"ssl", "http.client", "email", "email.parser"} & loaded


def test_the_command_line_brings_nothing_of_what_serves_requests() -> None:
    """A third of what `canary kill` took to begin was agent and engine."""
    code = "import sys, canary_middleware.cli; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = done.stdout.split()
    assert "canary_middleware.config.loading" in loaded
    parts = ("agent", "engine", "canary", "telemetry", "targets", "upstream", "panel.app")
    unasked = tuple(f"canary_middleware.{part}" for part in parts)
    found = [name for name in loaded if name.startswith(unasked)]
    assert found == []
