"""``gunicorn tests.upstream.wsgi_app:application``: nothing but an upstream."""

from __future__ import annotations

import os

from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.wsgi import WsgiUpstream

application = WsgiUpstream(os.environ["UPSTREAM"], timeouts=Timeouts(start=8.0, idle=8.0))
