"""The constructor of ``Canary`` as ``canary.toml`` and ``CANARY_*``; see docs/configuration.md."""

from canary_middleware.config.loading import Configuration, canary_from, load

__all__ = ["Configuration", "canary_from", "load"]
