"""Templates as pages: everything that comes from elsewhere is escaped, whoever renders."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from canary_middleware.core.telling import lasting, latency
from canary_middleware.core.weight import format_weight
from canary_middleware.overview.wording import ago, instant, number, percent, shown

TEMPLATES: Final = Path(__file__).parents[1] / "templates"
STATIC: Final = TEMPLATES.with_name("static")
DEFAULTS: Final[Mapping[str, Any]] = {
    "person": None, "namespace": "", "csrf": "", "live": "", "said": "", "here": "",
}  # fmt: skip
"""What every page may be given and need not be."""


@cache
def environment() -> Environment:
    """The one environment of the process; it never changes."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    made.filters |= {
        "ago": ago, "clock": _clock, "instant": instant, "iso": _iso, "lasting": lasting,
        "latency": latency, "percent": percent, "weight": format_weight,
    }  # fmt: skip
    made.globals["number"] = number
    return made


def render(template: str, **context: Any) -> Markup:
    """A template as text that is safe."""
    given = {**DEFAULTS, "up": ".", **context}
    return Markup(environment().get_template(template).render(given))  # noqa: S704 # autoescaped


def page(request: Request, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:
    """A page as the answer to a request; links in it are relative, so that any prefix serves."""
    person = getattr(request.state, "person", None)
    given = {"up": up(request), "person": person, **context}
    return HTMLResponse(render(template, **given), status_code)


def up(request: Request) -> str:
    """The way from a page to the root of the panel: ``"."``, ``".."`` and so on."""
    path: str = request.scope["path"]
    inside = path.removeprefix(request.scope.get("root_path", ""))
    depth = inside.count("/") - 1
    return "/".join([".."] * depth) if depth > 0 else "."


def _harmless(value: object) -> object:
    """What a template prints: text from strangers cannot hide or reorder anything either."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return shown(value)


def _clock(at: float) -> str:
    return f"{instant(at)[11:]} UTC"


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
