"""A process that follows a namespace and tells one webhook: store, namespace and address are given.

Its lease is short, so that a test need not wait half a minute for the next one.
"""

from __future__ import annotations

import sys
import time

from canary_middleware.agent import Agent
from canary_middleware.agent.alerting import Alerts, Pace
from canary_middleware.agent.posting import Poster
from canary_middleware.core.webhook import Webhook
from canary_middleware.stores import open_store
from tests.agent.held import Held

PACE = Pace(turn=0.1, look=0.5, lease=3.0, spare=1.5, ask=0.5, elected=10.0)

if __name__ == "__main__":
    url, namespace, hook = sys.argv[1:]
    alerts = Alerts((Webhook(hook),), "s" * 32, Poster(), PACE)
    agent = Agent(Held(), open_store(url, namespace), namespace=namespace, alerts=alerts)
    agent.ensure_started()
    print("follows", agent.wait_first_load(10.0))
    time.sleep(600)
