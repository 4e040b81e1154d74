"""What no rollout touches is identical with and without the middleware: the check sees variants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.scenarios import rows_answers
from tests.scenarios.play import told_by
from tests.scenarios.site import Interface, Site
from tests.scenarios.test_scenarios import always_a_cookie, double_vary, with_headers


def varies(app: Any) -> Any:
    """A WSGI variant that says of every page that it depends on the visitor."""

    def tampered(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[Any], *error: Any) -> Any:
            return start_response(status, [*headers, ("Vary", "Cookie")], *error)

        return app(environ, start)

    return tampered


def joins(app: Any) -> Any:
    """A WSGI variant that collects the body."""

    def tampered(environ: Any, start_response: Any) -> Any:
        chunks = app(environ, start_response)
        try:
            return [b"".join(chunks)]
        finally:
            chunks.close()

    return tampered


ROWS = rows_answers.UNEXPOSED


@pytest.mark.parametrize(
    ("interface", "variant"),
    [
        (Interface.ASGI, with_headers(double_vary)),
        (Interface.ASGI, with_headers(always_a_cookie)),
        (Interface.WSGI, varies),
        (Interface.WSGI, joins),
    ],
)
def test_a_middleware_that_changes_what_no_rollout_touches_is_found(
    interface: Interface, variant: Callable[[Any], Any]
) -> None:
    def same(row: Any) -> bool:
        (ask, _expect), *_ = row.talk
        with (
            Site(interface, row.app, bare=True) as bare,
            Site(interface, row.app, wrap=variant) as odd,
        ):
            return told_by(odd.ask(ask)) == told_by(bare.ask(ask))

    assert not all(map(same, ROWS))
