"""The decision endpoint behind ``canary.conf``; declare the rollouts of your applications here.

    uvicorn --app-dir integrations/nginx decision:app --host 127.0.0.1 --port 8003

It reads ``CANARY_STORE``, ``CANARY_NAMESPACE`` and ``CANARY_SECRET_KEYS``, which are those of the
applications. Only nginx may reach it: it believes what it is told about the original request.
"""

from __future__ import annotations

from canary_middleware import Rollout
from canary_middleware.config import canary_from
from canary_middleware.edge import DecisionEndpoint

CHECKOUT = Rollout("checkout", stable="1.4.2", canary="1.5.0", paths=("/cart", "/checkout"))

app = DecisionEndpoint(canary_from(rollouts=[CHECKOUT]), "checkout")
