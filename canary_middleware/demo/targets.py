"""Files that tell a Prometheus what to scrape: one per process of a shop.

They have the format of its file-based service discovery
(https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config).
"""

from __future__ import annotations

import json
from pathlib import Path


def announce(file: Path, address: str, shop: str) -> None:
    """In one step: a Prometheus reads a file as soon as it changes."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps([{"targets": [address], "labels": {"shop": shop}}]))
    unfinished.replace(file)


def withdraw(prefix: Path) -> None:
    """Remove what processes left that were killed before they could."""
    for file in prefix.parent.glob(f"{prefix.name}-*"):
        file.unlink(missing_ok=True)
