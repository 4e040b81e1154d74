"""``canary demo``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import click

from canary_middleware.errors import MissingExtraError

_PARTS: Final = (
    "fastapi", "flask", "uvicorn", "gunicorn", "redis", "opentelemetry.sdk",
    "opentelemetry.exporter.otlp.proto.http",
)  # fmt: skip


@click.command()
# No CANARY_STORE here: a demo must never end up in the store of a site by itself.
@click.option("--store", metavar="URL", help="A Redis to use.  [default: its own, ended with it]")
@click.option("--keep", is_flag=True, help="Leave everything running and say where.")
@click.option("--visitors", type=click.IntRange(min=1), help="How many distinct visitors come.")
def demo(**options: Any) -> int:
    """See it work: two shops, thousands of visitors, a kill, within a minute."""
    # Asked beforehand: in the middle of it a missing part would be an error of some server's.
    for part in _PARTS:
        if not _installed(part):
            raise MissingExtraError(part, "demo")
    given = {name: value for name, value in options.items() if value is not None}
    return int(import_module("canary_middleware.demo.run").run(**{"store": None, **given}))


def _installed(part: str) -> bool:
    try:
        return find_spec(part) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
