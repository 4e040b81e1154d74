"""Errors as programs get them: RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import JSONResponse

from canary_middleware.overview.wording import clean
from canary_middleware.panel.failing import MEANINGS, Failure

MEDIA: Final = "application/problem+json"
NO_STORE: Final = {"Cache-Control": "no-store"}
CODES: Final[Mapping[int, str]] = {
    400: "bad_json", 401: "not_signed_in", 403: "not_allowed", 404: "not_found",
    405: "method_not_allowed", 408: "too_slow", 413: "too_large", 415: "not_json",
    422: "bad_input", 429: "too_many", 500: "failed", 503: "store_unavailable",
}  # fmt: skip
"""Words for refusals that are none of a verb, where there is only one reason for a status."""
_OTHERS: Final = ("forged",)


def of_failure(failure: Failure, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer of a failure."""
    shape = {
        "type": kind(failure.code),
        "title": failure.title or HTTPStatus(failure.status).phrase,
        "status": failure.status,
        "code": failure.code,
        "detail": failure.message,
        "hint": failure.hint or None,
        "problems": [
            {"field": one.place, "message": one.message, "hint": one.hint or None}
            for one in failure.problems
        ],
    }
    more = {**NO_STORE, **(headers or {})}
    return JSONResponse(clean(shape), failure.status, more, media_type=MEDIA)


def of_status(
    status: int,
    text: str,
    hint: str = "",
    headers: Mapping[str, str] | None = None,
    code: str = "",
) -> JSONResponse:
    """The answer of a refusal that is none of a verb, such as that of a guard."""
    code = code or CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
    return of_failure(Failure(status, code, text, hint), headers)


def kind(code: str) -> str:
    """The URI of a sort of problem."""
    return f"urn:problem-type:canary:{code}"


def schema() -> Mapping[str, Any]:
    """The same, described."""
    codes = sorted({*_OTHERS, *CODES.values(), *(one.code for one in MEANINGS)})
    text = {"type": "string"}
    perhaps = {"type": ["string", "null"]}
    problem = {
        "type": "object",
        "properties": {"field": text, "message": text, "hint": perhaps},
        "required": ["field", "message", "hint"],
        "additionalProperties": False,
    }
    members = {
        "type": {"enum": [kind(code) for code in codes]},
        "title": text,
        "status": {"type": "integer"},
        "code": {"enum": codes},
        "detail": text,
        "hint": {**perhaps, "description": "What to do instead."},
        "problems": {
            "type": "array",
            "items": problem,
            "description": "One per field that cannot be read.",
        },
    }
    return {
        "type": "object",
        "description": "An error, by RFC 9457.",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }
