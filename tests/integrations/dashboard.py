"""The dashboard as values: its panels, and every query that it makes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parents[2] / "integrations" / "grafana" / "dashboard.json"
BOARD: Final[dict[str, Any]] = json.loads(FILE.read_text())


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """By the title of a panel, an annotation or a variable; several of one are numbered."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    for annotation in BOARD["annotations"]["list"]:
        found[annotation["name"]] = annotation["expr"]
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            # label_values(metric, label) is Grafana's own.
            written = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert written is not None, variable["name"]
            found[variable["name"]] = f"count by ({written[2]}) ({written[1]})"
    return found
