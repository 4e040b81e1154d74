"""Writes a section of docs/upstreams.md: ``python -m tests.upstream.headers_page``."""

from __future__ import annotations

import re
from pathlib import Path

from canary_middleware.upstream.header_table import RULES, Rule

PAGE = Path(__file__).parents[2] / "docs" / "upstreams.md"
SECTION = re.compile(r"^## Header rules\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
INTRODUCTION = """\
## Header rules

Generated from `canary_middleware/upstream/header_table.py` by
`python -m tests.upstream.headers_page`; a test keeps it in step.

What an upstream is asked, and what it answers, is what would have passed without us, except for:

"""
NOTES = """
* **The client** is whom the server in front of this middleware names. A server that believes a
  proxy (uvicorn's `--forwarded-allow-ips`, its own machine by default) names whom the proxy named:
  that is who `for=` says, and whom `Trust` is asked about.
* **A trusted peer** is one in `Trust(networks=["10.0.0.0/8"])`, or one without an address under
  `Trust(unix=True)`. Nobody is trusted by default, and everybody cannot be. What it sent of
  `Forwarded` and `X-Forwarded-*` stays; the client is appended to the kinds of chain that it uses.
  So it must overwrite or remove *both* when they come from outside: nginx passes a visitor's own
  `Forwarded` on unless told `proxy_set_header Forwarded "";`.
* **Headers of a CDN** (`CF-Connecting-IP`, `True-Client-IP`) pass like any other: whoever reads
  them has to know that nobody else can reach the application, with this middleware or without.
* **Marks**: WSGI and CGI write `X-Forwarded-For` and `X_Forwarded_For` as the same variable, and
  some readers `X.Forwarded.For` too. Such twins of a name that has a rule on the way to the
  upstream are removed, whoever sent them.
* **A name that is no name**, two Hosts, or a Host that is none: the client gets a 400, and the
  upstream no request. A Host with nothing in it passes; without any, the upstream is told its own.
* **`Connection`** can take away only what nobody here vouches for. It is how a visitor makes a
  proxy drop a header that somebody behind it relies on, so most rules hold whatever it names.
* **`Date` and `Server`** arrive twice where the server in front of this middleware adds its own
  even if the application gives one: uvicorn does, unless run with `--no-date-header` and
  `--no-server-header`, and so does gunicorn.
* **In ASGI** header names are in lower case, as its specification asks, in both directions.
"""


def section() -> str:
    """The whole section."""
    head = ["header | request | answer | why", "--- | --- | --- | ---"]
    rows = [*head, *map(_row, RULES)]
    return INTRODUCTION + "\n".join(f"| {row} |" for row in rows) + "\n" + NOTES


def _row(rule: Rule) -> str:
    names = [name if " " in name else f"`{name}`" for name in rule.names]
    return " | ".join([", ".join(names), rule.request.value, rule.answer.value, rule.why])


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    found = SECTION.search(text)
    assert found, "no such section"
    # Further sections follow after an empty line, which belongs to none of them.
    rest = text[found.end() :]
    PAGE.write_text(
        text[: found.start()] + section() + ("\n" + rest if rest else ""), encoding="utf-8"
    )
