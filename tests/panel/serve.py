"""Serves the panel that the environment describes: the other half of rig.py."""

from __future__ import annotations

import logging
import os
import socket

from canary_middleware.panel import panel
from canary_middleware.panel.serving import serve


def main() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.INFO)
    app = panel(
        os.environ["CANARY_STORE"],
        namespace=os.environ["CANARY_NAMESPACE"],
        tokens=os.environ["PANEL_TOKENS"],
        trust=os.environ.get("PANEL_TRUST", "").split(),
    )
    serve(app, socket.create_server(("127.0.0.1", int(os.environ["PANEL_PORT"]))))


if __name__ == "__main__":
    main()
