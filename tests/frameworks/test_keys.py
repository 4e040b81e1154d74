"""API keys as subjects, and several ways of saying who somebody is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from canary_middleware import Audience, ConfigurationError, Visitor
from canary_middleware.engine.views import RequestView
from canary_middleware.frameworks.identity import first_of
from canary_middleware.frameworks.jwt import jwt_subject
from canary_middleware.frameworks.keys import LONGEST, PREFIX, api_key
from tests.frameworks.test_jwt import bearer, made, version, views, who
from tests.scenarios.site import Interface, Site
from tests.scenarios.words import Ask

SECRET = "b" * 32


class Table:
    """Something with ``in`` that is no collection."""

    def __contains__(self, key: object) -> bool:
        return key == "good"


def good(key: str) -> bool:
    return key == "good"


@pytest.mark.parametrize(
    "known", [["other", "good"], {"good"}, ("good",), {"good": "Alice Ltd"}, Table(), good]
)
def test_known_keys_are_subjects_and_others_nobody(known: Any) -> None:
    identify = api_key(known=known)
    assert who(identify, ("x-api-key", "good")) == "api-key:good"
    for key in ("bad", "goo", "goodd", "GOOD", "", "\xfc", "good, good"):
        assert who(identify, ("x-api-key", key)) is None
    assert who(identify) is None


def test_without_known_keys_whoever_sends_one_is_somebody() -> None:
    identify = api_key("X-Client")
    assert who(identify, ("x-client", "anything")) == PREFIX + "anything"
    assert who(identify, ("x-client", "a" * (LONGEST + 1))) is None
    (view, _) = views([("x-client", "a")])
    identify(view)
    assert view.inputs == ("X-Client",)


def test_the_id_of_a_user_sent_as_a_key_is_not_that_user() -> None:
    assert who(api_key(), ("x-api-key", "alice")) != "alice"


def test_no_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    identify = api_key(known=["good"])
    with caplog.at_level(logging.DEBUG, "canary_middleware"):
        who(identify, ("x-api-key", "hunter2"))
        who(identify, ("x-api-key", "hunter3"))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    assert "hunter" not in caplog.text


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"header": "X Key"}, "header"),
        ({"known": "good"}, "known"),
        ({"known": b"good"}, "known"),
        ({"known": 5}, "known"),
    ],
)
def test_mistakes_are_told_at_construction(arguments: dict[str, Any], place: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        api_key(**arguments)
    assert [problem.place for problem in caught.value.problems] == [f"api_key, {place}"]


# --- one after another ----------------------------------------------------------------------------


def either() -> Callable[[RequestView], Visitor | str | None]:
    return first_of(jwt_subject("k" * 32, algorithms=["HS256"]), api_key(known=["good"]))


def test_the_first_who_knows_counts() -> None:
    identify = either()
    asgi, _ = views([bearer(made()), ("x-api-key", "good")])
    assert identify(asgi) == "alice"
    assert asgi.inputs == ("Authorization",)
    asgi, _ = views([bearer("x.y.z"), ("x-api-key", "good")])
    assert identify(asgi) == "api-key:good"
    asgi, _ = views([])
    assert identify(asgi) is None
    assert asgi.inputs == ("Authorization", "X-API-Key")


async def awaited(view: RequestView) -> str | None:
    return None


def test_async_ways_and_none_are_told() -> None:
    wrong: list[Any] = [api_key(), awaited, "me"]
    with pytest.raises(ConfigurationError) as caught:
        first_of(*wrong)
    places = [problem.place for problem in caught.value.problems]
    assert places == ["first_of, argument 2", "first_of, argument 3"]
    with pytest.raises(ConfigurationError):
        first_of()


@pytest.mark.parametrize("interface", Interface, ids=lambda interface: interface.value)
def test_users_and_clients_of_one_site(interface: Interface) -> None:
    canary = {"identify": either(), "bucket_secret": SECRET}
    testers = {"testers": Audience(["api-key:good"])}
    with Site(interface, version, weight="0%", canary=canary, rollout=testers) as site:
        assert site.ask(Ask(headers=[("x-api-key", "good")])).body == b"2"
        both = site.ask(Ask(headers=[("x-api-key", "good"), bearer(made())]))
        assert both.body == b"1", "a user who is no tester"
        assert both.all("vary") == ["Cookie, Authorization"]
