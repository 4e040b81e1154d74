"""Either of the two servers behind the gateway.

    VERSION=1.4.2 uvicorn examples.gateway.server:app --port 9001

It knows nothing of canaries.
"""

from __future__ import annotations

import os

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from examples.catalogue import page, product_list

VERSION = os.environ["VERSION"]

app = FastAPI(title=f"Bird shop {VERSION}")


@app.get("/", response_class=HTMLResponse)
async def home(request: Request) -> str:
    """The address is the visitor's: the gateway forwards it, and uvicorn believes its own host."""
    visitor = request.client.host if request.client else "somewhere"
    return page("Bird shop", product_list(), f"<footer>shop {VERSION}, to {visitor}</footer>")


@app.post("/orders")
async def order(wanted: dict[str, int]) -> dict[str, str | int]:
    """Not to be repeated: if the canary cannot be reached it has not run, and stable takes it."""
    return {"version": VERSION, "pieces": sum(wanted.values())}
