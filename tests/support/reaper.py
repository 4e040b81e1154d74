"""The reaper of the demo, one for each test run."""

from __future__ import annotations

import functools

from canary_middleware.demo.reaper import Reaper, kill_group

__all__ = ["Reaper", "kill_group", "reaper"]


@functools.cache
def reaper() -> Reaper:
    """The one reaper of this run, started with the first server."""
    return Reaper()
