"""Where the code says the name of a rollout."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from canary_middleware.doctor.mentions import mentions
from canary_middleware.doctor.searching import LARGEST, MOST_FILES, is_project, search

SPOKEN = [
    'current("checkout")',
    "if current( 'checkout' ).is_canary:",
    '@versioned("checkout", canary=checkout_v2)',
    'Rollout(\n    "checkout",\n    stable="1")',
    'Rollout(name="checkout")',
    'APIRouter(route_class=canary_route("checkout"))',
    'assignment_from(request, "checkout")',
    'CanaryMiddleware(app, canary, targets={"search": a, "checkout": b})',
    'targets: dict[str, App] = {\n  "checkout": app,\n}',
    'targets["checkout"] = app',
    "[rollouts.checkout]",
    "[rollouts.checkout.ramp]",
    '[ rollouts."checkout" ]',
    '{% if current("checkout").is_canary %}',
]
UNSPOKEN = [
    'path("checkout")',
    'current("checkout-old")',
    'prices = {"checkout": 1}',
    "# the checkout",
    "[checkout]",
    'recurrent("checkout")',
    'targets = load()\nprices = {"checkout": 1}',
]


@pytest.mark.parametrize("text", SPOKEN)
def test_it_is_meant(text: str) -> None:
    line = text[: text.index("checkout")].count("\n") + 1
    assert list(mentions(text, ["checkout"])) == [("checkout", line)]


@pytest.mark.parametrize("text", UNSPOKEN)
def test_something_else_is_meant(text: str) -> None:
    assert list(mentions(text, ["checkout"])) == []


def test_names_are_no_patterns_and_lines_are_told_once() -> None:
    text = 'current("a.b"), current("a.b")\ncurrent("axb")\ncurrent("a")'
    assert list(mentions(text, ["a.b", "a"])) == [("a.b", 1), ("a", 3)]
    assert list(mentions(text, [])) == []


def test_a_project_is_searched_and_what_others_wrote_is_not(tmp_path: Path) -> None:
    spoken = 'current("checkout")\n'
    for name in ("app.py", "shop/pay.py", "templates/cart.html", "canary.toml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n" + spoken)
    for name in (".venv/a.py", "node_modules/b.py", ".git/c.py", "shop/notes.txt", "build/d.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(spoken)
    (tmp_path / "generated.py").write_text(spoken + "x" * LARGEST)
    (tmp_path / "link.py").symlink_to(tmp_path / "app.py")
    (tmp_path / "latin.py").write_bytes(b"# \xe9\n" + spoken.encode())
    (tmp_path / "loop").symlink_to(tmp_path)
    found = search(tmp_path, ["checkout", "search"])
    assert set(found.mentions["checkout"]) == {
        "app.py:2", "canary.toml:2", "latin.py:2", "shop/pay.py:2", "templates/cart.html:2",
    }  # fmt: skip
    assert found.mentions["search"] == ()
    assert (found.files, found.whole) == (5, True)


def test_a_search_ends_in_time(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.py").write_text('current("checkout")')
    found = search(tmp_path, ["checkout"], itertools.count(0.0, 1.5).__next__)
    assert (found.whole, found.files) == (False, 1)
    assert MOST_FILES >= 1_000
    assert search(tmp_path, []).files == 0, "nothing to look for"


@pytest.mark.parametrize(
    "odd", ["\n", " ", "targets ", "targets {\n", "assignment_from(", "Rollout( "]
)
def test_no_file_takes_long_whatever_is_in_it(tmp_path: Path, odd: str) -> None:
    # Seconds for what grows with the length; hours for what grows with its square.
    (tmp_path / "odd.py").write_text(f'current("checkout")\n{odd * (LARGEST // 2 // len(odd))}')
    assert search(tmp_path, ["checkout"]).mentions["checkout"] == ("odd.py:1",)


def test_a_project_is_known_by_what_lies_there(tmp_path: Path) -> None:
    assert not is_project(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    assert is_project(tmp_path)
