"""An application as a server would load it: where the middleware stands, and what is outside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.doctor.finding import Finding, Kind, Level, ok

CANARY: Final = "CanaryMiddleware"
TRACING: Final = "OpenTelemetryMiddleware"
_WHO: Final = ("session", "auth", "login", "jwt")
"""Parts of the names of middlewares that know who somebody is."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What was seen of an application.

    Attributes:
        name: ``module:attribute``.
        error: why it could not be loaded; empty if it could.
        stack: names of the classes from the outermost to the innermost that could be seen.
        namespace: of the middleware's canary.
        secure: of its cookie.
        targets: rollouts with an application of their own.
        identifies: whether it identifies visitors.
        spans: of its telemetry: ``annotate``, ``create`` or ``off``.
        instrumented: OpenTelemetry instruments the framework, and where its span begins:
            ``outside``, ``inside`` or empty.
        processor: a span processor of ours was found.
        unseen: what could not be looked into.
    """

    name: str
    error: str = ""
    stack: tuple[str, ...] = ()
    namespace: str = ""
    secure: str = ""
    targets: tuple[str, ...] = ()
    identifies: bool = False
    spans: str = ""
    instrumented: str = ""
    processor: bool = False
    unseen: tuple[str, ...] = ()


def check(app: Mounted, namespace: str = "") -> Iterator[Finding]:
    """All of it; ``namespace`` is the one that is looked at."""
    if app.error:
        yield Finding(
            Kind.APPLICATION_UNLOADED,
            Level.BAD,
            f"{app.name} cannot be loaded",
            app.error,
            "name it as for the server, from the directory in which the server starts",
        )
        return
    if CANARY not in app.stack:
        yield _bare(app)
        return
    where = f"cookie secure={app.secure}, targets {', '.join(app.targets) or 'none'}"
    yield ok(Kind.APPLICATION_OK, f"{' > '.join(app.stack)}: {where}")
    if namespace and app.namespace != namespace:
        yield Finding(
            Kind.APPLICATION_NAMESPACE,
            Level.WARNING,
            f"{app.name} has the namespace {app.namespace}, and this look is at {namespace}",
            "verbs for one do not move the other",
            "see CANARY_NAMESPACE and canary.toml, there and here",
        )
    yield from _spans(app)
    yield from _order(app)
    if app.unseen:
        yield Finding(
            Kind.APPLICATION_UNSEEN,
            Level.NOTE,
            f"could not be looked into: {', '.join(app.unseen)}",
            "what is inside of it may stand in another order than is said here",
            "compare with the code, or name an application further inside",
        )


def _bare(app: Mounted) -> Finding:
    seen = " > ".join(app.stack)
    return Finding(
        Kind.APPLICATION_BARE,
        Level.NOTE if app.unseen else Level.WARNING,
        f"no CanaryMiddleware was found in {app.name}",
        f"seen from outside: {seen}" + (f"; not seen: {', '.join(app.unseen)}" * bool(app.unseen)),
        "add it as docs/frameworks.md says, or name the outermost application; a factory is not "
        "called",
    )


def _spans(app: Mounted) -> Iterator[Finding]:
    if app.instrumented == "inside" and not app.processor and app.spans not in ("", "off"):
        yield Finding(
            Kind.APPLICATION_SPANS,
            Level.WARNING,
            "OpenTelemetry's span begins inside of the CanaryMiddleware",
            "from outside it cannot be seen: what a target answers has no version on its span",
            "call provider.add_span_processor(CanarySpanProcessor()), or add OpenTelemetry's "
            "middleware after ours, so that it is outside (docs/telemetry.md)",
        )


def _order(app: Mounted) -> Iterator[Finding]:
    inside = _inside(app.stack)
    if app.targets and app.identifies and inside:
        yield Finding(
            Kind.APPLICATION_ORDER,
            Level.WARNING,
            f"{', '.join(inside)} is inside of the CanaryMiddleware",
            "a rollout with a target is decided before the application runs, so identify finds no "
            "session and no user there",
            "add it after CanaryMiddleware: what is added last is outermost (docs/frameworks.md)",
        )


def _inside(stack: Sequence[str]) -> list[str]:
    within = stack[stack.index(CANARY) + 1 :]
    return [name for name in within if any(word in name.lower() for word in _WHO)]
