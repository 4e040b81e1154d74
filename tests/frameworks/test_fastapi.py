"""FastAPI behind the middleware: versions with signatures of their own, dependencies."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

from canary_middleware import Canary, current, versioned
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.frameworks.fastapi import canary_route
from tests.scenarios.asgi_client import Browser
from tests.scenarios.facade import facade, kill, outcomes
from tests.scenarios.words import Reply


class OldOrder(BaseModel):
    item: str


class NewOrder(BaseModel):
    items: list[str]
    coupon: str


def user(name: str = "adam") -> str:
    return name


User = Annotated[str, Depends(user)]


def new_routes() -> APIRouter:
    v2 = APIRouter(route_class=canary_route("checkout"))

    @v2.get("/checkout")
    def show_v2(coupon: str) -> str:
        return f"2 {coupon}"

    @v2.post("/checkout")
    def order_v2(order: NewOrder) -> str:
        return f"2 {order.items}"

    return v2


def old_routes() -> APIRouter:
    v1 = APIRouter()

    @v1.get("/checkout")
    def show() -> str:
        return "1"

    @v1.post("/checkout")
    def order(order: OldOrder) -> str:
        return f"1 {order.item}"

    @v1.delete("/checkout")
    def delete() -> str:
        return "1 deleted"

    return v1


def included() -> FastAPI:
    app = FastAPI()
    app.include_router(new_routes())
    app.include_router(old_routes())
    return app


def with_prefix() -> FastAPI:
    app = FastAPI()
    app.include_router(new_routes(), prefix="/api")
    app.include_router(old_routes(), prefix="/api")
    return app


def nested() -> FastAPI:
    api = APIRouter(prefix="/v")
    api.include_router(new_routes(), prefix="/x")
    api.include_router(old_routes(), prefix="/x")
    app = FastAPI()
    app.include_router(api, prefix="/api")
    return app


def nested_twice_with_dependencies() -> FastAPI:
    both = APIRouter()
    both.include_router(new_routes(), dependencies=[Depends(lambda: None)])
    both.include_router(old_routes())
    api = APIRouter(prefix="/api")
    api.include_router(both, tags=["shop"])
    app = FastAPI()
    app.include_router(api)
    return app


def on_the_applications_router() -> FastAPI:
    app = FastAPI()
    app.router.route_class = canary_route("checkout")
    app.router.get("/checkout")(lambda: "2 anything")
    app.router.post("/checkout")(lambda: "2 anything")
    app.include_router(old_routes())
    return app


def routes_of_the_router() -> FastAPI:
    app = FastAPI()
    app.router.routes.extend([*new_routes().routes, *old_routes().routes])
    return app


def mounted() -> FastAPI:
    app = FastAPI()
    app.mount("/shop", included())
    return app


WAYS: list[tuple[Callable[[], FastAPI], str]] = [
    (included, "/checkout"),
    (with_prefix, "/api/checkout"),
    (nested, "/api/v/x/checkout"),
    (nested_twice_with_dependencies, "/api/checkout"),
    (on_the_applications_router, "/checkout"),
    (routes_of_the_router, "/checkout"),
    (mounted, "/shop/checkout"),
]
every_way = pytest.mark.parametrize(("build", "path"), WAYS, ids=[w[0].__name__ for w in WAYS])
JSON = {"content-type": "application/json"}


class Visit:
    """One application at one weight, and what it answered and counted."""

    def __init__(self, build: Callable[[], FastAPI], weight: str | None) -> None:
        self.canary = facade(weight)
        self.app = CanaryMiddleware(build(), self.canary)

    def send(self, method: str, path: str, body: object = None) -> Reply:
        with Browser(self.app) as browser:
            data = b"" if body is None else json.dumps(body).encode()
            return browser.request(method, path, JSON if data else {}, data)


@every_way
def test_stable_visitors_are_checked_by_the_stable_signature(
    build: Callable[[], FastAPI], path: str
) -> None:
    visit = Visit(build, "0%")
    shown = visit.send("GET", path)
    assert (shown.status, json.loads(shown.body)) == (200, "1")
    assert shown.all("vary") == ["Cookie"]
    ordered = visit.send("POST", path, {"item": "tea"})
    assert (ordered.status, json.loads(ordered.body)) == (200, "1 tea")
    assert outcomes(visit.canary) == {"stable 2xx": 2}


@every_way
def test_canary_visitors_are_checked_by_the_canary_signature(
    build: Callable[[], FastAPI], path: str
) -> None:
    visit = Visit(build, "100%")
    shown = visit.send("GET", path + "?coupon=anything")
    assert (shown.status, json.loads(shown.body)) == (200, "2 anything")
    assert shown.all("vary") == ["Cookie"]
    ordered = visit.send("POST", path, {"items": ["tea"], "coupon": "c"})
    assert ordered.status == 200
    assert json.loads(ordered.body).startswith("2 ")
    assert outcomes(visit.canary) == {"canary 2xx": 2}


@every_way
def test_without_a_started_rollout_the_canary_routes_do_not_exist(
    build: Callable[[], FastAPI], path: str
) -> None:
    assert json.loads(Visit(build, None).send("GET", path).body) == "1"


@every_way
def test_without_the_middleware_stable_serves(build: Callable[[], FastAPI], path: str) -> None:
    with Browser(build()) as browser:
        assert json.loads(browser.get(path).body) == "1"


def test_a_wrong_body_is_refused_by_each_versions_own_model() -> None:
    order = {"item": "tea"}
    assert Visit(included, "0%").send("POST", "/checkout", order).status == 200
    refused = Visit(included, "100%").send("POST", "/checkout", order)
    assert refused.status == 422
    assert {problem["loc"][-1] for problem in json.loads(refused.body)["detail"]} == {
        "items",
        "coupon",
    }


@pytest.mark.parametrize("weight", ["0%", "100%"])
@every_way
def test_a_method_of_one_version_only_reaches_it_from_both_cohorts(
    build: Callable[[], FastAPI], path: str, weight: str
) -> None:
    visit = Visit(build, weight)
    reply = visit.send("DELETE", path)
    assert (reply.status, json.loads(reply.body)) == (200, "1 deleted")
    cohort = "stable" if weight == "0%" else "canary"
    assert outcomes(visit.canary) == {f"{cohort} 2xx": 1}, "exposed alike: the path is the same"


@pytest.mark.parametrize("weight", ["0%", "100%"])
@every_way
def test_a_wrong_method_stays_405(build: Callable[[], FastAPI], path: str, weight: str) -> None:
    assert Visit(build, weight).send("PATCH", path).status == 405


@pytest.mark.parametrize("weight", ["0%", "100%"])
def test_another_path_exposes_nobody(weight: str) -> None:
    visit = Visit(included, weight)
    assert visit.send("GET", "/elsewhere").status == 404
    assert outcomes(visit.canary) == {}


@every_way
def test_openapi_builds(build: Callable[[], FastAPI], path: str) -> None:
    app = build()
    shop = app if build is not mounted else included()
    assert (path if build is not mounted else "/checkout") in shop.openapi()["paths"]


# --- a merged signature is the broken variant -----------------------------------------------------


def test_a_merged_signature_would_refuse_stable_visitors() -> None:
    app = FastAPI()

    @app.get("/checkout")
    def merged(coupon: str) -> str:
        return f"2 {coupon}" if current("checkout").is_canary else "1"

    assert Visit(lambda: app, "0%").send("GET", "/checkout").status == 422


def test_versioned_refuses_it_at_import_and_names_the_alternative() -> None:
    def new(coupon: str) -> str:
        return coupon

    def old() -> str:
        return "1"

    decorate: Any = versioned("checkout", canary=new)
    with pytest.raises(TypeError, match=r"route_class=canary_route\('checkout'\)"):
        decorate(old)


# --- dependencies, exception handlers -------------------------------------------------------------


class Shop:
    """A dependency that must be given back, around a handler that is killed or fails on canary."""

    def __init__(self) -> None:
        self.canary = facade()
        self.notes: list[str] = []
        app = FastAPI()
        app.get("/killed", response_class=PlainTextResponse)(self.handler(self.on_kill))
        app.get("/broken", response_class=PlainTextResponse)(self.handler(self.on_failure))
        app.get("/refused", response_class=PlainTextResponse)(self.handler(self.on_refusal))
        app.exception_handler(Exception)(self.caught)
        self.app = CanaryMiddleware(app, self.canary)

    async def connection(self) -> AsyncIterator[str]:
        version = current("checkout").version
        self.notes.append(f"open {version}")
        try:
            yield version
        except Exception as error:
            self.notes.append(f"saw {type(error).__name__}")
            raise
        finally:
            self.notes.append(f"close {version}")

    def handler(self, act: Callable[[], None]) -> Callable[..., str]:
        opened = Depends(self.connection)

        def handle(version: str = opened) -> str:
            if version == "2":
                act()
            return version

        return handle

    def on_kill(self) -> None:
        kill(self.canary)

    def on_failure(self) -> None:
        raise RuntimeError("boom")

    def on_refusal(self) -> None:
        raise HTTPException(503)

    async def caught(self, _: Request, error: Exception) -> PlainTextResponse:
        self.notes.append(f"handler {type(error).__name__}")
        return PlainTextResponse("sorry", 500)


@pytest.mark.parametrize(
    ("path", "notes", "counts"),
    [
        (
            "/killed",
            ["open 2", "close 2", "open 1", "close 1"],
            {"canary superseded": 1, "stable 2xx": 1},
        ),
        (
            "/broken",
            ["open 2", "saw RuntimeError", "close 2", "handler RuntimeError", "open 1", "close 1"],
            {"canary rescued": 1},
        ),
        (
            "/refused",
            ["open 2", "saw HTTPException", "close 2", "open 1", "close 1"],
            {"canary rescued": 1},
        ),
    ],
)
def test_dependencies_of_a_superseded_request_are_given_back(
    path: str, notes: list[str], counts: dict[str, int]
) -> None:
    shop = Shop()
    with Browser(shop.app) as browser:
        assert browser.text(path) == "1"
    assert shop.notes == notes
    assert outcomes(shop.canary) == counts
    assert not shop.canary.engine.recorder.running


def test_versioned_handlers_keep_their_dependencies() -> None:
    async def new(name: User) -> str:
        return f"2 {name}"

    app = FastAPI()

    @app.get("/checkout")
    @versioned("checkout", canary=new)
    async def old(name: User) -> str:
        return f"1 {name}"

    for weight, version in (("0%", "1"), ("100%", "2")):
        reply = Visit(lambda: app, weight).send("GET", "/checkout?name=eve")
        assert json.loads(reply.body) == f"{version} eve"


def test_versioned_generators_stream() -> None:
    async def new() -> AsyncIterator[str]:
        yield "2"

    app = FastAPI()

    @app.get("/checkout")
    @versioned("checkout", canary=new)
    async def old() -> AsyncIterator[str]:
        yield "1"

    for weight, version in (("0%", "1"), ("100%", "2")):
        visit = Visit(lambda: app, weight)
        reply = visit.send("GET", "/checkout")
        assert (reply.status, json.loads(reply.body)) == (200, version)
        assert reply.all("vary") == ["Cookie"]


def test_add_middleware_is_the_documented_way() -> None:
    app = FastAPI()
    app.get("/checkout", response_class=PlainTextResponse)(lambda: current("checkout").version)
    canary: Canary = facade()
    app.add_middleware(CanaryMiddleware, canary=canary)
    with Browser(app) as browser:
        assert browser.text("/checkout") == "2"
    assert outcomes(canary) == {"canary 2xx": 1}
