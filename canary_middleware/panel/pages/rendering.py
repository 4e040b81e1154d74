"""Templates as pages: everything that comes from elsewhere is escaped, whoever renders."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from canary_middleware.core.telling import lasting
from canary_middleware.engine.views import app_path
from canary_middleware.overview.wording import ago, instant, number, percent, shown
from canary_middleware.panel import forgery

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
STATIC: Final = TEMPLATES.with_name("static")


@cache
def environment() -> Environment:
    """The one environment of the process; it never changes."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_harmless,
    )
    made.filters |= {
        "ago": ago, "instant": instant, "iso": _iso, "lasting": lasting, "percent": percent,
    }  # fmt: skip
    made.globals["number"] = number
    return made


def render(template: str, **values: Any) -> Markup:
    """A template, or a part of a page, as text that is safe."""
    return Markup(environment().get_template(template).render(values))  # noqa: S704 # autoescaped


def page(request: Request, template: str, status_code: int = 200, **values: Any) -> HTMLResponse:
    """A page as the answer to a request; links in it are relative, so that any prefix serves.

    Beside its own values a template gets ``root``, to be put before every path, ``person``
    (``None`` for strangers), ``csrf``, ``signs_in`` (they could sign out again) and ``namespace``.
    """
    state = request.state
    site = getattr(request.app.state, "site", None) if "app" in request.scope else None
    given = {
        "root": up(request),
        "person": getattr(state, "person", None),
        "csrf": forgery.token(request),
        "signs_in": getattr(state, "signs_in", False),
        "namespace": site.namespace if site else "",
        "live": "",
        "here": "",
        "said": "",
    }
    return HTMLResponse(render(template, **{**given, **values}), status_code)


def up(request: Request) -> str:
    """The way from a page to the root of the panel: ``"."``, ``".."`` and so on."""
    return way(app_path(request.scope).count("/") - 1)


def way(depth: int) -> str:
    """The same for a path with so many slashes below the root."""
    return "/".join([".."] * depth) if depth > 0 else "."


def _harmless(value: object) -> object:
    """What a template prints: text from strangers cannot hide or reorder anything either."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return shown(value)


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
