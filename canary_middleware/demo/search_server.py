"""The new search of both shops, a server of its own.

``uvicorn --factory canary_middleware.demo.search_server:create_app``; it knows nothing of canaries:
whoever is sent here sees it.
"""

from __future__ import annotations

import asyncio

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from canary_middleware.demo.pages import page
from canary_middleware.demo.words import SEARCH


def create_app() -> FastAPI:
    """The application."""
    app = FastAPI(title="Bird search", openapi_url=None)

    @app.get(SEARCH.path, response_class=HTMLResponse)
    async def search() -> str:
        await asyncio.sleep(0.01)  # a database, somewhere
        return page("search", SEARCH.canary, "Two robins, a wren, and what they sing.")

    return app
