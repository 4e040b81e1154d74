"""Debian's nginx as an ordinary process, which writes into one folder only."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

MAIN: Final = """
{user}
daemon off;
pid {folder}/nginx.pid;
worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def configured(folder: Path, http: str, *, workers: int = 1) -> list[str]:
    """Write a configuration; gives the command that serves it and logs to standard error.

    Args:
        folder: for the configuration, and for all that nginx writes.
        http: what the ``http`` block says beside that.
        workers: processes that serve.
    """
    # Its workers would give up root for somebody who may not enter a private directory.
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(MAIN.format(folder=folder, http=http, user=user, workers=workers))
    return [_binary(), "-p", str(folder), "-e", "stderr", "-c", str(file)]


def _binary() -> str:
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    assert found, "!!! nginx is not installed, and this is about it: apt-get install -y nginx"
    return found
