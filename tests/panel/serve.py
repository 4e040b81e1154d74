"""Serves the panel that the environment describes: the other half of rig.py."""

from __future__ import annotations

import logging
import os

import uvicorn

from canary_middleware.panel import panel


def main() -> None:
    logging.basicConfig(format="%(levelname)s %(name)s %(message)s", level=logging.INFO)
    app = panel(
        os.environ["CANARY_STORE"],
        namespace=os.environ["CANARY_NAMESPACE"],
        tokens=os.environ["PANEL_TOKENS"],
        trust=os.environ.get("PANEL_TRUST", "").split(),
    )
    port = int(os.environ["PANEL_PORT"])
    uvicorn.run(app, port=port, access_log=False, log_config=None, timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
