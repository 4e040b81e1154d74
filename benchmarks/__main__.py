"""Every figure of the speed table, one line each; the parts are run one after the other."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

PARTS = (
    "request_asgi", "request_wsgi", "telemetry", "decision", "measuring", "affinity", "kill",
    "upstream",
)  # fmt: skip


def main() -> None:
    """A part whose peer is not installed says so and the others go on."""
    for part in PARTS:
        try:
            measure: Callable[[], list[str]] = import_module(f"benchmarks.{part}").main
        except ImportError as error:
            print(f"--   {part}: left out, {error.name} is not installed", flush=True)
            continue
        print("\n".join(measure()), flush=True)


if __name__ == "__main__":
    main()
