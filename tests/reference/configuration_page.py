"""docs/reference/configuration.md: every setting, in code, in a file, in the environment."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

import canary_middleware
from canary_middleware import asgi, edge, wsgi
from canary_middleware.canary import Canary
from canary_middleware.cli.app import cli
from canary_middleware.config import canary_from
from canary_middleware.config.kinds import PARTS, ROLLOUT, SETTINGS, VARIABLES
from canary_middleware.core.model import Assignment, Rollout
from canary_middleware.engine.views import RequestView
from canary_middleware.frameworks import fastapi, flask, identity, jwt, keys, starlette
from canary_middleware.panel.app import panel
from canary_middleware.telemetry import Telemetry
from canary_middleware.telemetry.processor import CanarySpanProcessor
from canary_middleware.upstream.asgi import AsgiUpstream
from canary_middleware.upstream.headers import Trust
from canary_middleware.upstream.settings import Timeouts
from canary_middleware.upstream.wsgi import WsgiUpstream
from tests.reference.markdown import about, code, line, section, table
from tests.reference.settings import described, settings

INTRODUCTION = """\
# Reference: configuration

Generated from the code by `python -m tests.reference`; a test keeps it in step. How it all belongs
together is in [configuration.md](../configuration.md).

## `canary.toml` and variables

A variable wins over the file, an argument in code over both. Secrets belong into variables or files
of their own."""
MEMBERS = """\
Members of `guards`, `ramp`, its `steps` and `precaution` are the arguments of `Guard`, `Ramp`,
`Step` and `Precaution` below.

### Other variables"""
FIRST = ("Canary", "Rollout", "Ramp", "Step", "Guard", "Precaution", "Rescue", "Audience",
         "Visitor", "Callers")  # fmt: skip
"""Of the public names; the others follow."""
ELSEWHERE: Mapping[str, Callable[..., Any]] = {
    "CanaryMiddleware (`canary_middleware.asgi`)": asgi.CanaryMiddleware,
    "CanaryMiddleware (`canary_middleware.wsgi`)": wsgi.CanaryMiddleware,
    "canary_from (`canary_middleware.config`)": canary_from,
    "Telemetry (`canary_middleware.telemetry`)": Telemetry,
    "CanarySpanProcessor (`canary_middleware.telemetry.processor`)": CanarySpanProcessor,
    "AsgiUpstream (`canary_middleware.upstream.asgi`)": AsgiUpstream,
    "WsgiUpstream (`canary_middleware.upstream.wsgi`)": WsgiUpstream,
    "Timeouts (`canary_middleware.upstream.settings`)": Timeouts,
    "Trust (`canary_middleware.upstream.headers`)": Trust,
    "DecisionEndpoint (`canary_middleware.edge`)": edge.DecisionEndpoint,
    "panel (`canary_middleware.panel`)": panel,
    "canary_route (`canary_middleware.frameworks.fastapi`)": fastapi.canary_route,
    "session_subject (`canary_middleware.frameworks.starlette`)": starlette.session_subject,
    "session_subject (`canary_middleware.frameworks.flask`)": flask.session_subject,
    "jwt_subject (`canary_middleware.frameworks.jwt`)": jwt.jwt_subject,
    "api_key (`canary_middleware.frameworks.keys`)": keys.api_key,
    "first_of (`canary_middleware.frameworks.identity`)": identity.first_of,
}
KINDS = {
    "a_text": "text", "_secret": "text", "_texts": "list of texts", "_flag": "`true`, `false`",
    "_secure": '`true`, `false`, `"auto"`', "_seconds": "seconds",
    "_limit": '`"never"`, or seconds', "_callers": "table", "group": "table",
    "_anything": "text", "guards": '`"defaults"`, or list of tables',
    "precaution": "`false`, or table", "ramp": "name, list, or table",
}  # fmt: skip
"""Words for what the file may hold, by the function that checks it; else its name is one."""
TEXTS = {
    "str": "as in the file", "_words": "separated by commas or blanks", "_number": "as in the file",
    "_switch": "`true`, `false`", "_toml": "TOML", "_inline": "TOML",
}  # fmt: skip

SPOKEN = {"secure": "`true`, `false`, `auto`"}
"""Texts of single variables, where their function does not say it."""
SEEN = ("method", "path", "scheme", "header", "cookie", "native")
"""Of a request, what is meant for ``identify``."""


def page() -> str:
    """The whole page."""
    parts = [
        INTRODUCTION,
        table(("in the file", "kind", "variable", "its text", "default", "meaning"), _file()),
        "### `[rollouts.<name>]`",
        table(("key", "kind", "default", "meaning"), list(_rollout())),
        MEMBERS,
        table(("variable", "of", "meaning"), list(_variables())),
        *(described(title, taker) for title, taker in _takers()),
        "## RequestView (`canary_middleware.engine.views`)",
        about(RequestView),
        table(("member", "type", "meaning"), list(_members())),
    ]
    return "\n\n".join(parts) + "\n"


def _file() -> list[tuple[str, ...]]:
    arguments = {one.name: one for one in settings(Canary)}
    rows: list[tuple[str, ...]] = []
    for name, (check, text) in SETTINGS.items():
        argument = arguments.get(name)
        rows.append((
            code(name), _word(check, KINDS), code(f"CANARY_{name.upper()}"),
            SPOKEN.get(name) or _word(text, TEXTS),
            code(argument.default) if argument else "",
            argument.meaning if argument else _own(name),
        ))  # fmt: skip
    return rows


def _own(name: str) -> str:
    """Of a setting that no argument has the name of."""
    setting = name.removesuffix("_file")
    if setting == name:
        return "a table for each, see below"
    return f"path of a file that holds `{setting}`, where that is not set itself"


def _word(function: Callable[..., Any], words: Mapping[str, str]) -> str:
    name = function.__name__
    return words.get(name, name.strip("_").replace("_", " "))


def _rollout() -> Iterator[tuple[str, ...]]:
    arguments = {one.name: one for one in settings(Rollout)}
    for name, check in ROLLOUT.items():
        one = arguments[name]
        yield code(name), _word(check, KINDS), code(one.default), one.meaning
        if name in PARTS:
            kind, members = PARTS[name]
            told = {each.name: each for each in settings(kind)}
            for member, inner in members.items():
                each = told[member]
                yield (
                    code(f"{name}.{member}"),
                    _word(inner, KINDS),
                    code(each.default),
                    each.meaning,
                )


def _variables() -> Iterator[tuple[str, str, str]]:
    told: dict[str, tuple[list[str], str]] = {}
    for words, command in commands(cli):
        for option in command.params:
            if isinstance(option, click.Option) and isinstance(option.envvar, str):
                told.setdefault(option.envvar, ([], option.help or ""))[0].append(words)
    for variable, (verbs, meaning) in sorted(told.items()):
        if variable not in VARIABLES:
            of = "every verb that connects" if len(verbs) > 4 else ", ".join(map(code, verbs))
            yield code(variable), of, line(meaning)


def commands(group: click.Group, words: str = "canary") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with what is typed for it."""
    for name in group.list_commands(click.Context(group)):
        command = group.commands[name]
        yield f"{words} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")


def _members() -> Iterator[tuple[str, str, str]]:
    told = section(RequestView, "Attributes")
    for name in SEEN:
        member = vars(RequestView).get(name)
        if member is None:
            kind = str(RequestView.__annotations__[name])
        else:
            signature = inspect.signature(getattr(member, "fget", None) or member)
            kind = str(signature.return_annotation)
        shown = name if member is None or isinstance(member, property) else f"{name}(name)"
        yield code(shown), code(kind), told.get(name) or line(about(member))


def _takers() -> Iterator[tuple[str, Callable[..., Any]]]:
    public = {name: getattr(canary_middleware, name) for name in canary_middleware.__all__}
    others = [name for name in public if name not in FIRST]
    for name in (*FIRST, *others):
        if _is_setting(public[name]):
            yield name, public[name]
    yield from ELSEWHERE.items()


def _is_setting(value: object) -> bool:
    if not inspect.isclass(value):
        return inspect.isfunction(value)
    return value is not Assignment and not issubclass(value, (enum.Enum, Exception))


def undocumented() -> list[str]:
    """Arguments without a meaning."""
    return [
        f"{title}: {one.name}"
        for title, taker in _takers()
        for one in settings(taker)
        if not one.meaning and section(taker, "Args", "Attributes")
    ]
