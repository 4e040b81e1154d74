"""The API described for programs, by OpenAPI 3.1, from the same table as its routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from canary_middleware import __version__
from canary_middleware.panel import problems
from canary_middleware.panel.action import FIELDS, VERBS, Sort
from canary_middleware.panel.api.reading import Parameter
from canary_middleware.panel.api.schemas import COMPONENTS
from canary_middleware.panel.api.table import Operation, by_path

Shape = Mapping[str, Any]

CSRF_HEADER: Final = "X-Canary-CSRF"
_NAME: Final = {
    "name": "rollout",
    "in": "path",
    "required": True,
    "description": "Name of a rollout.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
    "example": "checkout",
}
_WHY: Final[Mapping[int, str]] = {
    400: "The body is no JSON object.",
    401: "Nobody has signed in, or the token is wrong.",
    403: "The role view changes nothing; or another site asks.",
    404: "There is no such rollout.",
    409: "It does not fit now, was changed meanwhile, or has to be meant (`anyway`).",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field or a parameter cannot be read.",
    429: "Too many wrong tokens came from there.",
    500: "Something is wrong in the panel.",
    503: "The store does not answer, or what it holds cannot be read.",
    507: "The kill was told to all processes that listen, but the store could not keep it.",
}
EXAMPLES: Final[Mapping[str, Shape]] = {
    "weight": {"weight": "5%", "why": "looks fine"},
    "start": {"why": "release 1.5.0"},
    "rebase": {"stable": "1.4.3"},
    "drill": {"fault": "error", "share": "20%", "for": "60s"},
    "kill": {"why": "errors"},
}
"""Bodies; those of the other verbs may be empty."""
_LOOK: Final = (401, 422, 429, 500, 503)
_DEED: Final = (400, 401, 403, 409, 413, 415, 422, 429, 500, 503)


def describe(namespace: str) -> Shape:
    """The whole description.

    Args:
        namespace: of the panel, which is in the name of its cookie.
    """
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "canary_middleware panel",
            "version": __version__,
            "description": "What the panel shows and does, for programs. Times are seconds since "
            "the epoch, weights are texts such as 5%.",
        },
        "servers": [{"url": "../api", "description": "Where this description was found."}],
        "paths": {
            path: {method.lower(): _operation(one) for method, one in methods.items()}
            for path, methods in by_path().items()
        },
        "components": {
            "schemas": {**COMPONENTS, "Problem": problems.schema(), **_bodies()},
            "responses": {f"Problem{status}": _problem(text) for status, text in _WHY.items()},
            "securitySchemes": _security(namespace),
        },
    }


def statuses(operation: Operation) -> tuple[int, ...]:
    """Those of its errors."""
    found = _DEED if operation.verb else _LOOK
    extra = (404,) if operation.of_rollout else ()
    kept = (507,) if operation.verb == "kill" else ()
    return tuple(sorted((*found, *extra, *kept)))


def _operation(one: Operation) -> Shape:
    answer = {"schema": {"$ref": f"#/components/schemas/{one.answer}"}}
    errors = {
        str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in statuses(one)
    }
    done = {"description": "Done." if one.verb else "Here it is."}
    return {
        "operationId": one.name,
        "summary": one.says,
        "description": f"Needs the role {one.role.value}.",
        "security": _needs(one),
        "parameters": [*([_NAME] if one.of_rollout else []), *map(_parameter, one.parameters)],
        **({"requestBody": _body(one)} if one.verb else {}),
        "responses": {
            "200": {**done, "content": {"application/json": answer}},
            **errors,
        },
    }


def _needs(one: Operation) -> list[Shape]:
    session: Shape = {"session": [], "csrf": []} if one.verb else {"session": []}
    return [{"token": []}, session]


def _parameter(one: Parameter) -> Shape:
    schema: dict[str, Any] = {"type": "integer", "minimum": one.least, "maximum": one.most}
    if one.default is not None:
        schema["default"] = one.default
    return {"name": one.name, "in": "query", "description": one.says, "schema": schema}


def _body(one: Operation) -> Shape:
    schema = {"$ref": f"#/components/schemas/{_body_name(one.verb)}"}
    needed = bool(VERBS[one.verb].required)
    example = {"example": EXAMPLES[one.verb]} if one.verb in EXAMPLES else {}
    return {"required": needed, "content": {"application/json": {"schema": schema, **example}}}


def _body_name(verb: str) -> str:
    return f"{verb.capitalize()}Body"


def _bodies() -> Shape:
    return {_body_name(verb): _body_schema(sort) for verb, sort in VERBS.items()}


def _body_schema(sort: Sort) -> Shape:
    return {
        "type": "object",
        "description": sort.says,
        "properties": {name: FIELDS[name].schema for name in sort.fields},
        "required": list(sort.required),
        "additionalProperties": False,
    }


def _problem(text: str) -> Shape:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {problems.MEDIA: {"schema": schema}}}


def _security(namespace: str) -> Shape:
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of the panel's token file.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": f"canary_panel_{namespace}",
            "description": "A browser that has signed in. Where the panel is mounted with a check "
            "of the host application, that decides instead.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "The hidden field csrf of a form of the panel; a token needs none.",
        },
    }
