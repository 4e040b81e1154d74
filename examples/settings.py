"""What the examples do when the environment says nothing: a trial on one machine.

``CANARY_STORE=redis://localhost:6379/0`` ends the trial. Then ``CANARY_NAMESPACE`` and
``CANARY_SECRET_KEYS`` are needed, cookies are for HTTPS unless ``CANARY_SECURE=false`` says
otherwise, and nothing starts by itself: ``canary start checkout`` does. Every ``CANARY_*`` variable
of ``canary_middleware.config`` works in both.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

from canary_middleware import Canary, Rollout
from canary_middleware.config import canary_from


def canary_from_environment(*rollouts: Rollout, environ: Mapping[str, str] = os.environ) -> Canary:
    """The facade of an example; a trial where ``CANARY_STORE`` is not set.

    Raises:
        ConfigurationError: with every mistake at once.
    """
    defaults = {} if environ.get("CANARY_STORE") else trial()
    return canary_from(rollouts=rollouts, environ={**defaults, **environ})


def trial() -> dict[str, str]:
    """One process with its own control state, half of the visitors on canary, and plain HTTP."""
    return {
        "CANARY_STORE": "memory://",
        "CANARY_NAMESPACE": "shop",
        "CANARY_AUTOSTART": "50%",
        "CANARY_SECURE": "false",
        # Lost with the process, and with it who was on which version.
        "CANARY_SECRET_KEYS": secrets.token_urlsafe(32),
    }
