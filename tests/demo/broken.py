"""Shops that are deliberately broken, for the demo to find out."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI
from flask import Flask, request

from canary_middleware import Rescue, Rollout, current
from canary_middleware.demo import fastapi_shop, flask_shop
from canary_middleware.demo.shop import Shop
from canary_middleware.demo.words import CHECKOUT, PAY, SEARCH, TWICE, VISITOR


def careless(rollout: Rollout) -> Rollout:
    """Nobody looks at charges, and nobody answers for a search that crashes."""
    if rollout.name == PAY.name:
        return replace(rollout, guards=[g for g in rollout.guards if g.name != TWICE])
    return (
        replace(rollout, rescue=Rescue(enabled=False)) if rollout.name == SEARCH.name else rollout
    )


def careless_fastapi_shop() -> FastAPI:
    """See there."""
    return fastapi_shop.create_app(Shop("fastapi", careless))


def deaf_flask_shop() -> Flask:
    """Careless, and its checkout remembers who had the new version and goes on serving it."""
    shop = Shop("flask", careless)
    remembered: set[str | None] = set()
    app = flask_shop.create_app(shop)

    def checkout() -> str:
        visitor = request.headers.get(VISITOR)
        if current(CHECKOUT.name).is_canary:
            remembered.add(visitor)
        version = CHECKOUT.canary if visitor in remembered else CHECKOUT.stable
        return shop.page(version, "Whatever you say.")

    app.view_functions["pages.checkout"] = checkout
    return app


def failing_flask_shop() -> Flask:
    """Does not start."""
    flask_shop.create_app()
    raise RuntimeError("the cash desk is on fire")
