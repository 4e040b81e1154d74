"""Progressive delivery from inside the application, for ASGI and WSGI.

``Canary`` holds the configuration; the middlewares are ``canary_middleware.asgi.CanaryMiddleware``
and ``canary_middleware.wsgi.CanaryMiddleware``.
"""

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
    "current",
    "observe",
    "versioned",
]
