"""Colours of the style sheet: readable in both themes (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pytest

from canary_middleware.panel.pages.rendering import STATIC

SHEET: Final = (STATIC / "panel.css").read_text()
GROUNDS: Final = ("page", "panel", "soft")
ON: Final = {
    **dict.fromkeys(("ink", "quiet", "accent", "canary", "stable"), GROUNDS),
    "good": ("panel", "good-soft"),
    "warn": ("panel", "page", "warn-soft"),
    "bad": ("panel", "page", "bad-soft"),
    "other": ("panel", "other-soft"),
    "accent-ink": ("accent",),
    "bad-ink": ("bad",),
}
"""What is written on what."""
SHAPES: Final = ("canary", "stable", "good", "warn", "bad", "other", "quiet")
"""What is drawn on a panel, or as a bar on its track."""


def themes() -> Mapping[str, Mapping[str, str]]:
    """Colours by name; what the dark theme does not say is that of the light one."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))
        for block in re.findall(r":root \{(.*?)\}", SHEET, re.DOTALL)
    )
    return {"light": light, "dark": {**light, **dark}}


def luminance(color: str) -> float:
    """Relative luminance, https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ink", ON)
def test_text_can_be_read(theme: str, ink: str) -> None:
    colors = themes()[theme]
    for ground in ON[ink]:
        assert contrast(colors[ink], colors[ground]) >= 4.5, ground


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_can_be_seen(theme: str, shape: str) -> None:
    colors = themes()[theme]
    for ground in ("panel", "track"):
        assert contrast(colors[shape], colors[ground]) >= 3, ground


def test_every_color_is_a_variable() -> None:
    rules = re.sub(r":root \{.*?\}", "", SHEET, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b(?!-)|rgb\(|hsl\(", rules)


def test_nothing_comes_from_elsewhere_and_motion_is_asked_for() -> None:
    assert "url(" not in SHEET
    assert "@import" not in SHEET
    moving = SHEET.partition("prefers-reduced-motion")[0]
    assert "transition:" not in moving
    assert "animation" not in SHEET
