"""The JSON API: what the pages show and do, for programs."""

from canary_middleware.panel.api.routing import routes

__all__ = ["routes"]
