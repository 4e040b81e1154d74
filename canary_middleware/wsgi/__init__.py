"""The WSGI shell (PEP 3333): translates environ, start_response and the body, decides nothing.

``app.wsgi_app = CanaryMiddleware(app.wsgi_app, canary=canary)`` in Flask, or any application.
"""

from canary_middleware.wsgi.calls import App, Environ, StartResponse
from canary_middleware.wsgi.middleware import CanaryMiddleware

__all__ = ["App", "CanaryMiddleware", "Environ", "StartResponse"]
