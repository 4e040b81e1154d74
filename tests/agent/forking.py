"""A server that loads its application, serves, and forks: one parent, three children."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from canary_middleware.agent import Agent
from canary_middleware.stores import open_store
from tests.agent.held import Held
from tests.support.servers import NotReadyError, wait_until


def main(url: str, folder: str) -> None:
    store, held = open_store(url, "shop"), Held()
    agent = Agent(held, store, namespace="shop")
    agent.ensure_started()
    agent.wait_first_load(5.0)
    children: list[int] = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            children = []
            agent.ensure_started()
            break
        children.append(child)
    Path(folder, str(os.getpid())).touch()
    try:
        wait_until(lambda: held.killed)
        Path(folder, f"{os.getpid()}.killed").touch()
    except NotReadyError:
        Path(folder, f"{os.getpid()}.deaf").touch()
    agent.stop()
    for child in children:
        os.waitpid(child, 0)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
