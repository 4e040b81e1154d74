"""Flask behind the middleware: hooks, streams, sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import flask
import pytest
from werkzeug.test import Client

from canary_middleware import Audience, Canary, current
from canary_middleware.frameworks.flask import assignment_from, session_subject
from canary_middleware.wsgi import CanaryMiddleware
from tests.scenarios.facade import events, facade, kill, outcomes

SECRET = {"bucket_secret": "b" * 32}


def covered(app: flask.Flask, canary: Canary, **targets: Any) -> Client:
    app.wsgi_app = CanaryMiddleware(app.wsgi_app, canary, targets)  # type: ignore[method-assign]  # Flask's documented way
    return Client(app)


class Shop:
    """A Flask shop that notes what its hooks see."""

    def __init__(self) -> None:
        self.canary = facade()
        self.hooks: list[str] = []
        app = flask.Flask("shop")
        app.add_url_rule("/checkout", view_func=self.checkout)
        app.add_url_rule("/broken", view_func=self.broken)
        app.add_url_rule("/stream", view_func=self.stream)
        app.add_url_rule("/killed", view_func=self.killed)
        app.after_request(self.after)
        app.teardown_request(self.teardown)
        app.register_error_handler(Exception, self.caught)
        self.client = covered(app, self.canary)

    def checkout(self) -> str:
        return current("checkout").version

    def broken(self) -> str:
        if current("checkout").is_canary:
            raise RuntimeError("boom")
        return "stable"

    def killed(self) -> str:
        if current("checkout").is_canary:
            kill(self.canary)
        return current("checkout").version

    def stream(self) -> flask.Response:
        def chunks() -> Iterator[str]:
            yield current("checkout").version
            yield flask.request.path

        return flask.Response(flask.stream_with_context(chunks()))

    def after(self, response: flask.Response) -> flask.Response:
        self.hooks.append(f"after {response.status_code} {current('checkout').version}")
        response.call_on_close(lambda: self.hooks.append(f"close {current('checkout').version}"))
        return response

    def teardown(self, error: BaseException | None) -> None:
        self.hooks.append(f"teardown {type(error).__name__} {current('checkout').version}")

    def caught(self, error: Exception) -> tuple[str, int]:
        self.hooks.append(f"handler {type(error).__name__}")
        return "sorry", 500

    def get(self, path: str) -> tuple[int, str]:
        with closing(self.client.get(path)) as response:
            return response.status_code, response.text


def test_hooks_see_the_visitor_and_run_once() -> None:
    shop = Shop()
    assert shop.get("/checkout") == (200, "2")
    assert shop.hooks == ["after 200 2", "teardown NoneType 2", "close 2"]
    assert outcomes(shop.canary) == {"canary 2xx": 1}


def test_a_rescued_request_runs_the_hooks_of_both_runs() -> None:
    shop = Shop()
    assert shop.get("/broken") == (200, "stable")
    assert shop.hooks == [
        "handler RuntimeError",
        "after 500 2",
        "teardown NoneType 2",
        "after 200 1",
        "teardown NoneType 1",
        "close 1",
    ]
    assert outcomes(shop.canary) == {"canary rescued": 1}


def test_superseding_is_no_error_of_the_application() -> None:
    shop = Shop()
    assert shop.get("/killed") == (200, "1")
    assert not [note for note in shop.hooks if note.startswith("handler")]
    assert outcomes(shop.canary) == {"canary superseded": 1, "stable 2xx": 1}


def test_streams_keep_their_contexts() -> None:
    shop = Shop()
    assert shop.get("/stream") == (200, "2/stream")
    assert shop.hooks[-1] == "close 2"
    assert outcomes(shop.canary) == {"canary 2xx": 1}


# --- sessions -------------------------------------------------------------------------------------


def signing_in() -> flask.Flask:
    """Says the version before and after a sign-in, which lasts in the session."""
    app = flask.Flask("shop")
    app.secret_key = "s" * 32

    @app.get("/sign-in/<name>")
    def sign_in(name: str) -> str:
        flask.session["user_id"] = name
        return current("checkout").version

    @app.get("/checkout")
    def checkout() -> str:
        found = assignment_from(flask.request, "checkout")
        return f"{found.version} {found.reason.value}"

    return app


def with_testers(app: flask.Flask) -> Canary:
    return facade(
        "0%",
        {"identify": session_subject(app, "user_id"), **SECRET},
        testers=Audience(["tess", "7"]),
    )


def text(client: Client, path: str) -> str:
    with closing(client.get(path)) as response:
        assert response.status_code == 200
        return response.text


def test_a_flag_is_read_inside_the_application_and_sees_the_sign_in() -> None:
    app = signing_in()
    client = covered(app, with_testers(app))
    assert text(client, "/checkout") == "1 weight"
    assert text(client, "/sign-in/tess") == "2", "the sign-in of the same request is seen"
    assert text(client, "/checkout") == "2 tester"
    assert text(client, "/sign-in/adam") == "1"
    assert text(client, "/checkout") == "1 weight"


def test_a_target_is_routed_before_flask_by_the_session_of_an_earlier_request() -> None:
    app = signing_in()
    beta = flask.Flask("beta")
    beta.add_url_rule("/checkout", "checkout", lambda: "the other application")
    canary = with_testers(app)
    client = covered(app, canary, checkout=beta)
    assert text(client, "/checkout") == "1 weight"
    assert text(client, "/sign-in/tess") == "1", "this request was routed before"
    assert text(client, "/checkout") == "the other application"
    assert events(canary) == {}


def test_a_subject_that_is_no_text_is_one_all_the_same() -> None:
    app = signing_in()
    app.add_url_rule("/seven", "seven", lambda: str(flask.session.setdefault("user_id", 7)))
    client = covered(app, with_testers(app))
    assert text(client, "/seven") == "7"
    assert text(client, "/checkout") == "2 tester"


@pytest.mark.parametrize("targeted", [False, True])
def test_an_application_without_secret_key_has_anonymous_visitors_only(targeted: bool) -> None:
    app = flask.Flask("shop")
    app.add_url_rule("/checkout", "checkout", lambda: current("checkout").version)
    canary = with_testers(app)
    targets = {"checkout": flask.Flask("beta")} if targeted else {}
    assert text(covered(app, canary, **targets), "/checkout") == "1"
    assert events(canary) == {}


def test_assignment_from_outside_of_the_middleware() -> None:
    app = flask.Flask("shop")
    with app.test_request_context("/checkout"):
        found = assignment_from(flask.request, "checkout")
    assert (found.is_canary, found.reason.value) == (False, "no_request")
