"""The ASGI shell: translates scopes and messages, decides nothing.

``app.add_middleware(CanaryMiddleware, canary=canary)`` in Starlette and FastAPI, or
``app = CanaryMiddleware(app, canary=canary)`` around any ASGI application.
"""

from canary_middleware.asgi.messages import App, Message, Receive, Scope, Send
from canary_middleware.asgi.middleware import CanaryMiddleware

__all__ = ["App", "CanaryMiddleware", "Message", "Receive", "Scope", "Send"]
