"""``canary demo``."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


@click.command(
    epilog="""\b
Examples:
  canary demo
  canary demo --keep --visitors 5000
"""
)
# No CANARY_STORE here: a demo must never end up in the store of a site by itself.
@click.option("--store", metavar="URL", help="A Redis to use.  [default: its own, ended with it]")
@click.option("--keep", is_flag=True, help="Leave everything running and say where.")
@click.option(
    "--prometheus",
    type=click.Path(file_okay=False, writable=True),
    metavar="DIR",
    help="Say there, in files, what a Prometheus can scrape.",
)
@click.option(
    "--visitors", type=click.IntRange(min=1000), help="How many distinct visitors come.  [3000]"
)
def demo(**options: Any) -> int:
    """See it work: a good release, two bad ones and a kill, before thousands of visitors.

    It takes about a minute.
    """
    given = {name: value for name, value in options.items() if value is not None}
    # Imported here: it needs the extra `demo`, and says so where it is missing.
    return int(import_module("canary_middleware.demo.run").run(**{"store": None, **given}))
