"""``canary``: the verbs on a command line; see docs/cli.md."""

from canary_middleware.cli.app import main

__all__ = ["main"]
