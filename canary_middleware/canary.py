"""The facade: checks the configuration, joins engine, store and agent, and owns their lives."""

from __future__ import annotations

import asyncio
import atexit
import inspect
import logging
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from canary_middleware.core.cookie import CookieFormat, Secure
from canary_middleware.core.model import Rollout
from canary_middleware.core.validate import (
    as_bytes,
    key_problems,
    namespace_problems,
    overlap_problems,
    rollout_problems,
    secret_problems,
    weight_problem,
)
from canary_middleware.engine.engine import Engine, Identify, Observer, Settings
from canary_middleware.errors import ConfigurationError, Problem

logger = logging.getLogger("canary_middleware")

SAFE_DEFAULT = 60.0


class Canary:
    """One configuration, shared by the middlewares of a process.

    Args:
        rollouts: what is on its way out.
        namespace: names the cookie, the keys in the store and the buckets; required with a shared
            store. Applications of one site that share visitors share it.
        store: ``memory://`` (one process), ``redis://``, ``rediss://``, ``unix://``, or a redis-py
            client, which is used and never closed.
        secret_keys: keys that sign the cookie, at least 32 bytes each, oldest first; the last signs.
        bucket_secret: secret under which identified visitors are drawn; never rotate it.
        identify: who a request belongs to; gets a
            :class:`~canary_middleware.engine.views.RequestView`.
        vary: request headers that ``identify`` reads by other ways than ``view.header()``.
        secure: see :class:`~canary_middleware.core.cookie.CookieFormat`; ``False`` for plain HTTP.
        max_staleness: seconds without a confirmation of the control state after which running
            rollouts serve stable; ``None`` for never.
        poll: seconds between two looks at the store at most; pushes arrive at once.
        first_load: seconds that a new process waits for its first look at the store, at most.
        snapshot_path: a directory in which the last state and kill are kept across restarts.
        autostart: only with ``memory://``: start every rollout at this weight.
        telemetry: an :class:`~canary_middleware.telemetry.Telemetry`, ``None`` for the default, which
            uses the global OpenTelemetry providers, ``False`` for none.
        debug: raise the errors of hooks instead of serving stable; make keys up if there are none.

    Raises:
        ConfigurationError: with every mistake at once.
    """

    def __init__(
        self,
        *rollouts: Rollout,
        namespace: str | None = None,
        store: str | Any = "memory://",
        secret_keys: Sequence[str | bytes] = (),
        bucket_secret: str | bytes | None = None,
        identify: Identify | None = None,
        vary: Sequence[str] = (),
        secure: Secure = True,
        max_staleness: float | None = SAFE_DEFAULT,
        poll: float = 0.8,
        first_load: float = 0.25,
        snapshot_path: str | Path | None = None,
        autostart: str | None = None,
        telemetry: Observer | bool | None = None,
        debug: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        shared = store != "memory://"
        if debug and not secret_keys:
            secret_keys = [secrets.token_bytes(32)]
        problems = [
            *rollout_problems(rollouts),
            *namespace_problems(namespace, shared=shared),
            *key_problems(secret_keys),
            *_identity_problems(identify, bucket_secret),
            *_autostart_problems(autostart, shared=shared),
        ]
        if problems:
            raise ConfigurationError(problems)
