"""Takes one cookie or one query parameter out of a request; everything else stays as it is.

Text in, text out, where each character is one byte (latin-1): WSGI's strings as they are, ASGI's
bytes after a decoding that loses nothing.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote


class Rest(NamedTuple):
    """What is left, and the values that were taken out, in their order."""

    text: str
    values: list[str]


def without_cookie(header: str, name: str) -> Rest:
    """A Cookie header without the cookies of that name."""
    if name not in header:
        return Rest(header, [])
    kept: list[str] = []
    values: list[str] = []
    for part in header.split(";"):
        key, _, value = part.partition("=")
        # As readers of cookies do it, who ignore blanks around a name.
        if key.strip() == name:
            values.append(value.strip())
        else:
            kept.append(part)
    return Rest(";".join(kept).lstrip() if values else header, values)


def without_parameter(query: str, name: str) -> Rest:
    """A query without the parameters of that name, however it is written."""
    if name not in query and "%" not in query:
        return Rest(query, [])
    kept: list[str] = []
    values: list[str] = []
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key == name or ("%" in key and unquote(key, "latin-1") == name):
            values.append(unquote(value, "latin-1"))
        else:
            kept.append(part)
    return Rest("&".join(kept) if values else query, values)


def without_parameter_in(uri: str, name: str) -> str:
    """A URI whose query is :func:`without_parameter`."""
    path, mark, query = uri.partition("?")
    rest = without_parameter(query, name)
    if not rest.values:
        return uri
    return path + mark + rest.text if rest.text else path
