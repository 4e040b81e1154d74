"""OpenTelemetry and logs: every span, metric and log line says which version it is about.

Imports the core and OpenTelemetry's API. The SDK is the user's; only
:mod:`canary_middleware.telemetry.processor` needs it.
"""

from canary_middleware.telemetry.logs import CanaryFilter, add_canary
from canary_middleware.telemetry.spans import Telemetry

__all__ = ["CanaryFilter", "Telemetry", "add_canary"]
