"""The panel: what a person on call and a release manager see and do, in a browser or by JSON.

``panel(...)`` makes it, as an ASGI application; ``Person`` and ``Role`` are for a ``check`` of the
host application's own. A name is imported when it is first asked for (PEP 562), so that whoever
needs no panel needs none of its libraries.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.errors import MissingExtraError

if TYPE_CHECKING:
    from canary_middleware.panel.app import panel
    from canary_middleware.panel.people import Person, Role

__all__ = ["Person", "Role", "panel"]

_HOMES: Final = {"Person": "people", "Role": "people", "panel": "app"}
_LIBRARIES: Final = frozenset({"anyio", "jinja2", "markupsafe", "starlette"})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        raise MissingExtraError(library, "panel") from error
