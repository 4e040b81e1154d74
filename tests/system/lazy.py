"""Workers that are there but have not begun.

``python -m tests.system.lazy PORT...``: one process for each port, forked after the application was
imported, served by uvicorn without lifespan. So the package begins with the first visit, and a test
chooses the instant.
"""

from __future__ import annotations

import os
import signal
import sys

import uvicorn

from tests.support.servers import LOCALHOST
from tests.system.asgi_site import app


def main(ports: list[int]) -> None:
    for port in ports:
        if os.fork() == 0:
            uvicorn.run(app, host=LOCALHOST, port=port, lifespan="off", log_level="warning")
            os._exit(0)
    signal.pause()


if __name__ == "__main__":
    main([int(port) for port in sys.argv[1:]])
