"""Loads an application as a server would, in a process of its own, and says what is in it.

Run as ``python -m canary_middleware.cli.inspecting module:attribute mark``; the last line that it
prints is the mark and a JSON object. Nothing is called but the import itself.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from canary_middleware.core.codec import printable
from canary_middleware.doctor.application import CANARY, TRACING, Mounted
from canary_middleware.errors import ConfigurationError

if TYPE_CHECKING:
    from canary_middleware.canary import Canary

PATIENCE: Final = 20.0
"""Seconds in which an application has to be imported."""
DEEPEST: Final = 50
"""Layers that are looked through."""
_INNER: Final = ("app", "_app", "application", "wsgi_app", "asgi_app", "_wsgi_app")
_TOLD: Final = (ConfigurationError, ImportError, AttributeError, SyntaxError)
"""Errors whose text is about code; that of others may hold what they were given, a password."""
_UNLOADED: Final = "it took longer than {0:g} s to import"


def inspect(name: str, patience: float = PATIENCE) -> Mounted:
    """Load it in another process, so that nothing of it stays here; ``patience`` in seconds."""
    mark = f"{secrets.token_hex(8)} "  # which the application does not know
    command = [sys.executable, "-m", "canary_middleware.cli.inspecting", name, mark]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=patience, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Mounted(name, error=_UNLOADED.format(patience))
    for line in reversed(done.stdout.splitlines()):
        if line.startswith(mark):
            told = json.loads(line.removeprefix(mark))
            return Mounted(**{key: _plain(value) for key, value in told.items()})
    return Mounted(name, error=f"the process that imported it ended with {done.returncode}")


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def load(name: str) -> Mounted:
    """Import it here; only for the process that is made for it."""
    module, _, attribute = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):
            found: Any = importlib.import_module(module)
            for part in (attribute or "app").split("."):
                found = getattr(found, part)
    except BaseException as error:  # noqa: BLE001  # whatever the code of the application raises, an exit too
        return Mounted(name, error=printable(_said(error), 400))
    return look(name, found)


def _said(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, _TOLD):
        return f"{kind}: {' '.join(str(error).split())}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{kind} in {frames[-1].filename}:{frames[-1].lineno}" if frames else kind


def look(name: str, app: Any) -> Mounted:
    """What is to be seen of a loaded application, from the outside inwards."""
    from canary_middleware.telemetry import Telemetry

    layers = list(_layers(app))
    names = tuple(kind for _, kind, _ in layers)
    unseen = tuple(kind for layer, kind, _ in layers if _opaque(layer))
    canary, targets = _canary(layers)
    if canary is None:
        return Mounted(name, stack=names, unseen=unseen)
    settings, observer = canary.engine.settings, canary.engine.observer
    return Mounted(
        name,
        stack=names,
        namespace=canary.namespace,
        secure=str(settings.cookie.secure),
        targets=tuple(sorted(targets)),
        identifies=settings.identify is not None,
        spans=observer.seen().mode if isinstance(observer, Telemetry) else "",
        instrumented=_instrumented([layer for layer, _, _ in layers], names),
        processor=_has_processor(),
        unseen=unseen,
    )


Layer = tuple[Any, str, dict[str, Any]]
"""What stands there, the name of its class, and the arguments that it is made with later."""


def _layers(app: Any) -> Iterator[Layer]:
    seen: set[int] = set()
    while app is not None and id(app) not in seen and len(seen) < DEEPEST:
        seen.add(id(app))
        waiting = getattr(app, "user_middleware", None)
        yield app, getattr(app, "__qualname__", type(app).__name__), {}
        # Starlette makes them when it starts, in this order, the first one outermost.
        for one in waiting if isinstance(waiting, list) else ():
            kind = getattr(one, "cls", None)
            yield one, getattr(kind, "__name__", str(kind)), {**getattr(one, "kwargs", {}), "": one}
        app = _inner(app)


def _inner(app: Any) -> Any:
    held = _attributes(app)
    if "router" in held:  # an application of Starlette: what follows are its routes
        return None
    return next((held[name] for name in _INNER if callable(held.get(name))), None)


def _attributes(app: Any) -> dict[str, Any]:
    """Of an object, or what a function has of those around it."""
    if isinstance(app, FunctionType):
        cells = zip(app.__code__.co_freevars, app.__closure__ or (), strict=False)
        return {name: cell.cell_contents for name, cell in cells if _is_filled(cell)}
    return dict(vars(app)) if hasattr(app, "__dict__") else {}


def _is_filled(cell: CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # of a name that is not bound yet
        return False


def _opaque(layer: Any) -> bool:
    """A function that wraps something under a name that says nothing."""
    return isinstance(layer, FunctionType) and bool(layer.__closure__) and _inner(layer) is None


def _canary(layers: list[Layer]) -> tuple[Canary | None, Any]:
    # Here, and not where the question is only put: the command line needs nothing of it.
    from canary_middleware.canary import Canary

    for layer, kind, arguments in layers:
        if kind == CANARY:
            held = arguments or _attributes(layer)
            found = held.get("canary") or held.get("_canary")
            if isinstance(found, Canary):
                return found, held.get("targets") or held.get("_targets") or {}
    return None, {}


def _instrumented(layers: list[Any], names: tuple[str, ...]) -> str:
    """Where the span of an instrumentation begins, seen from our middleware."""
    own = names.index(CANARY)
    if TRACING in names:
        return "outside" if names.index(TRACING) < own else "inside"
    for at, layer in enumerate(layers):
        if _attributes(layer).get("_is_instrumented_by_opentelemetry"):
            # FastAPI's puts itself around all of its application's middlewares; Flask's begins its
            # span within the application.
            fastapi = "_original_build_middleware_stack" in _attributes(layer)
            return "outside" if fastapi and at <= own else "inside"
    return ""


def _has_processor() -> bool:
    """Whether ours is with the provider that everybody uses, by attributes of the SDK's classes."""
    from opentelemetry.trace import get_tracer_provider

    several = _attributes(get_tracer_provider()).get("_active_span_processor")
    held = _attributes(several).get("_span_processors", ()) if several is not None else ()
    return any(type(one).__name__ == "CanarySpanProcessor" for one in held)


def main() -> None:
    """For the process that is made for it."""
    told = asdict(load(sys.argv[1]))
    sys.stdout.write(f"\n{sys.argv[2]}{json.dumps(told)}\n")
    sys.stdout.flush()
    # Threads and exit handlers of the application must not keep this process.
    os._exit(0)


if __name__ == "__main__":
    main()
