"""docs/reference in step with the code: whatever can be typed or set is there."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import pytest

from canary_middleware.core.guards import Action, Precaution
from tests.reference.configuration_page import undocumented
from tests.reference.markdown import about, line, section, table
from tests.reference.pages import PAGES, PLACE
from tests.reference.settings import settings, written


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_in_step(name: str) -> None:
    written = (PLACE / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), "run: python -m tests.reference"


def test_every_setting_says_what_it_means() -> None:
    assert undocumented() == []


@dataclass
class Kettle:
    """Boils water.

    Slowly, see docs/tea.md.

    Args:
        litres: how much, as :class:`~shop.Volume`; at most ``2.0``,
            or it boils over.
        names: of those who drink.

    Raises:
        ValueError: it is too much.
    """

    litres: float = 1.0
    names: list[str] = field(default_factory=list)


def test_a_docstring_is_read() -> None:
    assert about(Kettle) == "Boils water.\n\nSlowly, see [tea.md](../tea.md)."
    assert section(Kettle, "Args") == {
        "litres": "how much, as `Volume`; at most `2.0`, or it boils over.",
        "names": "of those who drink.",
    }
    assert [(one.kind, one.default) for one in settings(Kettle)] == [
        ("float", "1.0"),
        ("list[str]", "[]"),
    ]


def test_defaults_are_written_as_code_and_show_no_environment() -> None:
    defaults = (os.environ, Action.WARN, Precaution(), Precaution(least=3), "a", None)
    assert [written(value) for value in defaults][:3] == ["os.environ", "'warn'", "Precaution()"]
    assert "least=3" in written(defaults[3])
    assert [written(value) for value in defaults[4:]] == ["'a'", "None"]


def test_a_bar_stays_in_its_cell() -> None:
    assert table(("a",), [("str | None",)]).endswith("| str \\| None |")
    assert line("one\n  two") == "one two"
