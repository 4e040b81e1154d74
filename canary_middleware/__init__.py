"""Progressive delivery from inside the application, for ASGI and WSGI.

``Canary`` holds the configuration; the middlewares are ``canary_middleware.asgi.CanaryMiddleware``
and ``canary_middleware.wsgi.CanaryMiddleware``.

A name is imported when it is first asked for (PEP 562): whoever needs one part only, such as the
upstreams of a gateway, does not pay for the memory of the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from canary_middleware.canary import Canary
    from canary_middleware.context import current, observe
    from canary_middleware.core.guards import Guard, Precaution
    from canary_middleware.core.model import (
        Assignment,
        Audience,
        Cohort,
        Reason,
        Rescue,
        Rollout,
        Visitor,
    )
    from canary_middleware.core.ramp import Ramp, Step
    from canary_middleware.core.service import Callers
    from canary_middleware.core.webhook import Webhook
    from canary_middleware.errors import CanaryError, ConfigurationError
    from canary_middleware.targets.versioned import versioned

__version__ = "0.1.0"

__all__ = [
    "Assignment",
    "Audience",
    "Callers",
    "Canary",
    "CanaryError",
    "Cohort",
    "ConfigurationError",
    "Guard",
    "Precaution",
    "Ramp",
    "Reason",
    "Rescue",
    "Rollout",
    "Step",
    "Visitor",
    "Webhook",
    "current",
    "observe",
    "versioned",
]

_HOMES: Final = {
    "Assignment": "core.model", "Audience": "core.model", "Callers": "core.service",
    "Canary": "canary", "CanaryError": "errors", "Cohort": "core.model",
    "ConfigurationError": "errors", "Guard": "core.guards", "Precaution": "core.guards",
    "Ramp": "core.ramp", "Reason": "core.model", "Rescue": "core.model", "Rollout": "core.model",
    "Step": "core.ramp", "Visitor": "core.model", "Webhook": "core.webhook",
    "current": "context", "observe": "context", "versioned": "targets.versioned",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
