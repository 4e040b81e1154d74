from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary_middleware.core.model import DEFAULT_EXCLUDE
from canary_middleware.core.scope import Prefixes, Scope


@pytest.mark.parametrize(
    ("prefixes", "path", "covered"),
    [
        (["/checkout"], "/checkout", True),
        (["/checkout"], "/checkout/", True),
        (["/checkout"], "/checkout/pay", True),
        (["/checkout/"], "/checkout", True),
        (["/checkout"], "/checkout-old", False),
        (["/checkout"], "/checkou", False),
        (["/checkout"], "/Checkout", False),
        (["/checkout"], "//checkout", False),
        (["/checkout"], "/a/checkout", False),
        (["/checkout"], "/", False),
        (["/checkout"], "", False),
        (["/checkout"], "/checkout%2Fpay", False),
        (["/checkout"], "/checkout;v=1", False),
        (["/"], "/", True),
        (["/"], "/anything/at/all", True),
        (["/"], "//", True),
        (["/"], "*", False),
        (["//"], "/x", True),
        (["/a", "/b"], "/b/c", True),
        ([], "/", False),
        (["/caf\u00e9"], "/caf\u00e9/x", True),
    ],
)
def test_prefixes_cover_whole_segments(prefixes: list[str], path: str, covered: bool) -> None:
    assert Prefixes.of(tuple(prefixes)).cover(path) is covered
    assert Scope.of(tuple(prefixes), (), ()).covers(path, "GET") is covered


SEGMENTS = st.lists(st.sampled_from(["a", "b", "ab", "a-b", ""]), max_size=3)


@given(SEGMENTS, SEGMENTS)
def test_prefixes_agree_with_comparing_lists_of_segments(
    prefix: list[str], path: list[str]
) -> None:
    text = "/" + "/".join(prefix)
    wanted = text.rstrip("/").split("/")
    given_path = "/" + "/".join(path)
    expected = given_path.split("/")[: len(wanted)] == wanted
    assert Prefixes.of((text,)).cover(given_path) is expected


def test_methods_and_exclusions() -> None:
    scope = Scope.of(("/",), ("/static", "/a/health"), ("GET", "POST"))
    assert scope.covers("/", "GET")
    assert not scope.covers("/", "HEAD")
    assert not scope.covers("/", "get")
    assert not scope.covers("/static/x.css", "GET")
    assert scope.covers("/statics", "GET")
    assert not scope.covers("/a/health", "POST")
    assert scope.covers("/a/healthy", "POST")
    assert Scope.of(("/",), (), ()).covers("/", "ANY")


@pytest.mark.parametrize(
    "path", ["/health", "/healthz/deep", "/static/a.js", "/favicon.ico", "/metrics"]
)
def test_health_and_static_files_are_out_by_default(path: str) -> None:
    assert not Scope.of(("/",), DEFAULT_EXCLUDE, ()).covers(path, "GET")
    assert Scope.of(("/",), (), ()).covers(path, "GET")


@pytest.mark.parametrize(
    ("one", "two", "overlapping"),
    [
        ((["/a"], []), (["/b"], []), False),
        ((["/a"], []), (["/a"], []), True),
        ((["/a"], []), (["/a/b"], []), True),
        ((["/a"], []), (["/ab"], []), False),
        ((["/"], []), (["/x/y"], []), True),
        ((["/a", "/b"], []), (["/c", "/b/d"], []), True),
        ((["/a"], ["GET"]), (["/a"], ["POST"]), False),
        ((["/a"], ["GET"]), (["/a"], []), True),
        ((["/a"], ["GET", "PUT"]), (["/a"], ["PUT"]), True),
    ],
)
def test_overlap(
    one: tuple[list[str], list[str]], two: tuple[list[str], list[str]], overlapping: bool
) -> None:
    left, right = (Scope.of(tuple(paths), (), tuple(methods)) for paths, methods in (one, two))
    assert left.overlaps(right) is overlapping
    assert right.overlaps(left) is overlapping
