"""Every example, started by the very command that it tells its readers to type."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import FETCH, Response, Visitor
from tests.support.redis import SharedRedis
from tests.support.servers import NotReadyError, Process, free_port, wait_until

ROOT = Path(__file__).parents[2]
SHOPS = ("fastapi_shop/app.py", "flask_shop/app.py")
GREETINGS = ("plain_asgi.py", "plain_wsgi.py")
VISITORS = 40
SHARED = {
    "CANARY_NAMESPACE": "shop",
    "CANARY_SECRET_KEYS": "a-key-of-these-tests-long-enough-to-be-one",
    "CANARY_SECURE": "false",
}
ORDERS: dict[str, dict[str, Any]] = {
    "1.4.2": {"products": ["seed", "perch"]},
    "1.5.0": {"quantities": {"seed": 2, "perch": 1}, "express": True},
}
TOTALS = {"1.4.2": 1740, "1.5.0": 2690}


def command(example: str, port: int, *more: str) -> list[str]:
    """The first indented line of the docstring, with another port and more arguments."""
    line = re.search(r"^    (\S.+)$", (ROOT / "examples" / example).read_text(), re.MULTILINE)
    assert line is not None
    server, *arguments = line[1].replace("8000", str(port)).split()
    return [str(Path(sys.executable).with_name(server)), *more, *arguments]


@contextmanager
def serving(example: str, log: Path, *more: str, **env: str) -> Iterator[int]:
    port = free_port()
    unset = dict.fromkeys(("CANARY_STORE", "CANARY_CONFIG", "CANARY_SECRET_KEYS"))
    with Process(
        command(example, port, *more), log / "log", env={**unset, **env}, cwd=ROOT
    ) as server:
        server.wait_port(port)
        yield port
        server.terminate()
    assert "Traceback" not in server.output()


def canary(*words: str, **env: str) -> None:
    """The command line, as a process of its own."""
    command = [sys.executable, "-m", "canary_middleware.cli", *words]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **env}, timeout=30)


def version(response: Response) -> str:
    assert response.status == 200, response
    found = re.search(r"(?:checkout|from) (\d[\d.]*\d)", response.text)
    assert found, response.text
    return found[1]


def order(visitor: Visitor, order_id: str, wanted: dict[str, Any]) -> Response:
    body = json.dumps({"order_id": order_id, **wanted}).encode()
    headers = {"Content-Type": "application/json"}
    return visitor.request("POST", "/checkout/orders", body, fetch=FETCH, headers=headers)


@pytest.fixture(scope="module", params=SHOPS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(request.param, tmp_path_factory.mktemp("shop")) as port:
        yield port


def test_a_visitor_shops_in_one_version_from_cart_to_receipt(shop: int) -> None:
    seen = set()
    for number in range(VISITORS):
        with Visitor(shop) as visitor:
            assert visitor.get("/").status == 200
            assert visitor.get("/product/seed").status == 200
            assert visitor.cookies.lines == [], "outside of the rollout nobody is drawn"
            assert visitor.post("/cart/seed").status == 303
            mine = version(visitor.get("/cart"))
            assert {version(visitor.get("/checkout")) for _ in range(3)} == {mine}
            receipt = order(visitor, f"order-{number}", ORDERS[mine])
            assert json.loads(receipt.text) == {
                "order_id": f"order-{number}", "version": mine, "total": TOTALS[mine],
            }  # fmt: skip
            assert len([line for line in visitor.cookies.lines if "canary" in line]) == 1
        seen.add(mine)
    assert seen == {"1.4.2", "1.5.0"}


def one_of_each(shop: int, stack: ExitStack) -> dict[str, Visitor]:
    """A visitor of each version."""
    found: dict[str, Visitor] = {}
    while found.keys() != ORDERS.keys():
        visitor = stack.enter_context(Visitor(shop))
        found[version(visitor.get("/checkout"))] = visitor
    return found


def test_an_order_is_taken_once_and_belongs_to_both_versions(shop: int) -> None:
    with ExitStack() as stack:
        visitors = one_of_each(shop, stack)
        for mine, other in (("1.4.2", "1.5.0"), ("1.5.0", "1.4.2")):
            me, order_id = visitors[mine], f"twice-{mine.replace('.', '-')}"
            receipt = order(me, order_id, ORDERS[mine])
            assert receipt.status == 200
            assert order(me, order_id, ORDERS[mine]).body == receipt.body
            assert order(visitors[other], order_id, ORDERS[other]).body == receipt.body
            assert visitors[other].get(f"/checkout/orders/{order_id}").body == receipt.body


def test_each_version_refuses_what_only_the_other_takes(shop: int) -> None:
    owl = {"products": ["owl"], "quantities": {"owl": 1}}
    with ExitStack() as stack:
        for mine, visitor in one_of_each(shop, stack).items():
            (foreign,) = (wanted for label, wanted in ORDERS.items() if label != mine)
            for wanted in (foreign, owl, {}):
                assert order(visitor, "refused", wanted).status == 422
            assert visitor.get("/checkout/orders/refused").status == 404


def test_the_exposed_page_is_private_and_the_public_ones_are_left_alone(shop: int) -> None:
    with Visitor(shop) as visitor:
        page = visitor.get("/checkout")
        assert page.header("Cache-Control") == "private, no-cache"
        assert (page.header("Vary") or "").split(", ")[0] == "Cookie"
        style = visitor.get("/static/shop.css")
        assert "immutable" in (style.header("Cache-Control") or "")
        missing = visitor.get("/product/owl")
        assert missing.status == 404
        for untouched in (visitor.get("/"), style, missing):
            assert untouched.all("Set-Cookie") + untouched.all("Vary") == []


@pytest.mark.parametrize("example", GREETINGS)
def test_a_plain_application_greets_everyone_in_one_voice(example: str, tmp_path: Path) -> None:
    seen = set()
    with serving(example, tmp_path) as port:
        for _ in range(VISITORS):
            with Visitor(port) as visitor:
                mine = version(visitor.get("/greeting"))
                assert {version(visitor.get("/greeting")) for _ in range(3)} == {mine}
                assert visitor.get("/elsewhere").status == 404
            seen.add(mine)
    assert seen == {"1.0", "2.0"}


@pytest.mark.parametrize("example", [*SHOPS, *GREETINGS])
def test_without_its_redis_an_example_serves_stable(example: str, tmp_path: Path) -> None:
    path, stable = ("/checkout", "1.4.2") if example in SHOPS else ("/greeting", "1.0")
    nobody = f"redis://127.0.0.1:{free_port()}/0"
    with serving(example, tmp_path, CANARY_STORE=nobody, **SHARED) as port:
        for _ in range(VISITORS // 4):
            with Visitor(port) as visitor:
                assert version(visitor.get(path)) == stable


@pytest.mark.parametrize("example", SHOPS)
def test_with_a_redis_two_workers_follow_the_command_line(
    example: str, tmp_path: Path, shared_redis: SharedRedis, namespace: str
) -> None:
    env = {**SHARED, "CANARY_STORE": shared_redis.url, "CANARY_NAMESPACE": namespace}
    with serving(example, tmp_path, "--workers", "2", **env) as port, ExitStack() as stack:
        crowd = [stack.enter_context(Visitor(port)) for _ in range(VISITORS)]

        def shares() -> set[str]:
            for visitor in crowd:
                visitor.close()  # a server may have ended the kept connection meanwhile
            return {version(visitor.get("/checkout")) for visitor in crowd}

        assert shares() == {"1.4.2"}, "nothing starts by itself"
        canary("start", "checkout", "--weight", "50%", **env)
        wait_until(lambda: shares() == {"1.4.2", "1.5.0"}, what="some are on canary")
        canary("kill", "checkout", **env)
        wait_until(lambda: shares() == {"1.4.2"}, what="everybody is back")


def test_a_shared_store_without_keys_is_refused_with_every_mistake(tmp_path: Path) -> None:
    with (
        pytest.raises(NotReadyError, match=r"(?s)CANARY_NAMESPACE: .*CANARY_SECRET_KEYS: "),
        serving(SHOPS[0], tmp_path, CANARY_STORE="redis://127.0.0.1:1/0"),
    ):
        raise AssertionError("it started")


@pytest.mark.parametrize("example", SHOPS)
def test_the_readme_says_the_same_command(example: str) -> None:
    readme = (ROOT / "examples" / example).with_name("README.md").read_text()
    server, *arguments = command(example, 8000)
    assert f"\n{Path(server).name} {' '.join(arguments)}\n" in readme
