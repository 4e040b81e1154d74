"""Writes docs/reference: ``python -m tests.reference``."""

from __future__ import annotations

from tests.reference.pages import PAGES, PLACE

if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (PLACE / name).write_text(page(), encoding="utf-8")
