"""``uvicorn tests.system.chain_a:app``: the service that knows its users."""

from __future__ import annotations

from typing import Any

import aiohttp
import httpx2
from fastapi import FastAPI, Request

from canary_middleware import current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.frameworks.aiohttp import carrying
from canary_middleware.frameworks.httpx import async_request_hook
from tests.system.chain import HOSTS, begin, canary, told
from tests.system.observing import traced

LINK = begin()
site = FastAPI()


@site.get("/shop/b")
async def by_httpx2(request: Request) -> dict[str, Any]:
    current("shop")
    hooks = {"request": [async_request_hook(hosts=HOSTS)]}
    async with httpx2.AsyncClient(event_hooks=hooks, timeout=10.0) as client:
        answer = await client.get(LINK.url("b"))
    return told(request.headers.get, answer.json())


@site.get("/shop/c")
async def by_aiohttp(request: Request) -> dict[str, Any]:
    current("shop")
    async with (
        aiohttp.ClientSession(middlewares=[carrying(hosts=HOSTS)]) as session,
        session.get(LINK.url("c")) as answer,
    ):
        return told(request.headers.get, await answer.json())


app = traced(CanaryMiddleware(site, canary=canary(LINK, first=True)))
