from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from canary_middleware import current
from canary_middleware.asgi import CanaryMiddleware
from canary_middleware.telemetry import CanaryFilter, add_canary
from tests.telemetry.apps import CANARY, CHECKOUT, SITE, App, Receive, Scope, Sdk, Send, canary, get

FORMAT = "%(canary_rollout)s|%(canary_version)s|%(canary_cohort)s|%(message)s"


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    handler.addFilter(CanaryFilter())
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def logging_app(found: list[dict[str, object]]) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        logging.getLogger("shop.orders").warning("before")
        found.append(dict(add_canary(None, "info", {"event": "before"})))
        current("checkout")
        current("site")
        logging.getLogger("shop.orders").warning("after")
        found.append(dict(add_canary(None, "info", {"event": "after"})))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    return app


def test_lines_say_which_version_wrote_them(sdk: Sdk, lines: Lines) -> None:
    found: list[dict[str, object]] = []
    get(CanaryMiddleware(logging_app(found), canary=canary(sdk, SITE, CHECKOUT)))
    assert lines.lines == ["-|-|-|before", f"checkout|{CANARY}|canary|after"]
    assert found == [
        {"event": "before"},
        {
            "event": "after",
            "canary_rollout": "checkout",
            "canary_version": CANARY,
            "canary_cohort": "canary",
        },
    ]


def test_lines_outside_of_a_request_format_too(lines: Lines) -> None:
    logging.getLogger("shop").warning("start")
    assert lines.lines == ["-|-|-|start"]


def test_a_formatter_without_the_filter_fails() -> None:
    handler = Lines()  # broken on purpose: no filter, so the names are missing
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "start", None, None)
    with pytest.raises(ValueError, match="canary_rollout"):
        handler.handle(record)
