"""What the shops and the server of the new search show in a browser."""

from __future__ import annotations

from typing import Final

from canary_middleware.demo.words import CANARIES, CHECKOUT, PART_OF, SEARCH

_PAGE: Final = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1.2em sans-serif;margin:4em auto;max-width:32em;padding:0 1em;
border-top:.6em solid {colour}}}</style>
<h1>{title}</h1>{body}
<p>{links}</p>
"""


def page(kind: str, version: str, text: str, neighbour: str | None = None) -> str:
    """A page that names its version, or none.

    Args:
        kind: of server.
        version: of the part that it belongs to; ``""`` for none.
        text: what it says.
        neighbour: address of the other shop, where it is known.
    """
    colour = "#e8a400" if version in CANARIES else "#2a7a4b"
    named = f"<p>{PART_OF[version].name} <b>{version}</b></p>" if version else ""
    places = [("", "here")] + ([(neighbour, "at the neighbour's")] if neighbour is not None else [])
    links = " · ".join(
        f'<a href="{where}{part.path}">{part.name} {whose}</a>'
        for where, whose in places
        for part in (CHECKOUT, SEARCH)
    )
    return _PAGE.format(
        title=f"Bird shop ({kind})", colour=colour, body=f"<p>{text}</p>{named}", links=links
    )
