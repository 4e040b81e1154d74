"""`canary demo` before it begins: what it needs, and that no variable gives it a store."""

from __future__ import annotations

import subprocess
import sys

import pytest

from canary_middleware.cli.demo import demo

WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as where it is not installed
from canary_middleware.cli import main
sys.exit(main(["demo"]))
"""


@pytest.mark.parametrize("missing", ["fastapi", "flask", "gunicorn", "redis", "opentelemetry.sdk"])
def test_a_missing_part_names_the_extra_in_one_line(missing: str) -> None:
    command = [sys.executable, "-c", WITHOUT, missing]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout) == (2, "")
    package = missing.replace(".", "-")
    expected = f"{package} is not installed; run: pip install 'canary-middleware[demo]'"
    assert done.stderr == f"canary: {expected}\n"


def test_the_demo_never_takes_a_store_from_the_environment() -> None:
    assert [option.envvar for option in demo.params] == [None] * len(demo.params)
    names = {option.name for option in demo.params}
    assert names == {"store", "keep", "prometheus", "visitors"}
