"""Fixtures that start the demo and see to it that nothing of it is left."""

from __future__ import annotations

import itertools
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.servers import Process

ROOT = Path(__file__).resolve().parents[2]
MARK = "DEMO_TEST_MARK"


@dataclass
class Demo:
    """A running demo; everything that it starts inherits its mark."""

    process: Process
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def left(self) -> list[str]:
        """The commands of all processes of this demo that still run."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                marked = wanted in (entry / "environ").read_bytes()
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if marked and command:
                found.append(command.replace(b"\0", b" ").decode())
        return found


StartDemo = Callable[..., Demo]


@contextmanager
def starting(folder: Path) -> Iterator[StartDemo]:
    """Starts ``canary demo`` with these arguments; whatever was started ends with the context."""
    numbers = itertools.count()
    with ExitStack() as stack:

        def start(*arguments: str, module: str = "canary_middleware.cli") -> Demo:
            command = [sys.executable, "-m", module, *arguments]
            log = folder / f"demo-{next(numbers)}.log"
            demo = Demo(Process(command, log, cwd=ROOT))
            demo.process.env.update({MARK: demo.mark, "TMPDIR": str(folder)})
            stack.enter_context(demo.process)
            return demo

        yield start


def playing(start: StartDemo) -> StartDemo:
    """Starts a short demo: short steps and scenes, few visitors, and what else is told."""

    def play(crowd: str = "crowd", **setting: object) -> Demo:
        chosen = {"visitors": 1000, "pace": 2, "seconds": 1.5, **setting}
        return start(json.dumps(chosen), crowd, module="tests.demo.play")

    return play


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    """See :func:`starting`."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def play_demo(start_demo: StartDemo) -> StartDemo:
    """See :func:`playing`."""
    return playing(start_demo)
