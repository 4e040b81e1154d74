"""Elements of SVG as text: every value is escaped, every number finite."""

from __future__ import annotations

import math
from html import escape

from canary_middleware.overview.wording import shown


def number(value: float) -> str:
    """A coordinate with one digit; what is no number is 0."""
    rounded = round(value, 1) if math.isfinite(value) else 0.0
    return f"{rounded:g}" if abs(rounded) < 100_000 else f"{rounded:.0f}"


def element(name: str, inside: str = "", **attributes: str | float) -> str:
    """One element.

    Args:
        name: of it.
        inside: markup that is safe already.
        attributes: of our own making; ``_`` stands for ``-``, one at the end is for Python's own
            words.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{given}>{inside}</{name}>" if inside else f"<{name}{given}/>"


def words(name: str, text: str, **attributes: str | float) -> str:
    """An element with a text from anywhere."""
    return element(name, escape(shown(text)) or " ", **attributes)


def _text(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else number(value)
