"""The site in a server that offers a module ``uwsgi``, as uWSGI does before it loads anything."""

from __future__ import annotations

import importlib

importlib.import_module("uwsgi")
app = importlib.import_module("tests.system.wsgi_site").app
