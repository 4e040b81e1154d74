"""What a program sends: strict JSON of a known size, and parameters that are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Never

from starlette.requests import Request

from canary_middleware.errors import CanaryError, Problem
from canary_middleware.overview.wording import shown
from canary_middleware.panel.action import BadInputError
from canary_middleware.panel.bodies import LARGEST

_DIGITS: Final = 16
JSON: Final = "application/json"


class UnreadableError(CanaryError):
    """The body is no JSON object of ours.

    Attributes:
        status: of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


async def body(request: Request) -> Mapping[str, Any]:
    """The JSON object of a request; empty where it has no body.

    Raises:
        UnreadableError: it is none, too large, or said to be something else.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise UnreadableError(413, f"a request has {LARGEST // 1024} KiB at most")
    kind = request.headers.get("content-type")
    if (data or kind is not None) and (kind or "").partition(";")[0].strip().lower() != JSON:
        raise UnreadableError(415, f"say Content-Type: {JSON}, and send a JSON object")
    return parsed(bytes(data)) if data else {}


def parsed(data: bytes) -> Mapping[str, Any]:
    """A JSON object, strictly: UTF-8, no name twice, no NaN, not deep.

    Raises:
        UnreadableError: it is none; the message says why.
    """
    try:
        found = json.loads(data.decode(), parse_constant=_constant, object_pairs_hook=_once)
    except UnreadableError:
        raise
    except RecursionError:
        raise UnreadableError(400, "that is nested too deeply") from None
    except ValueError as error:
        raise UnreadableError(400, f"that is no JSON: {shown(str(error))}") from None
    if not isinstance(found, dict):
        raise UnreadableError(400, "that is no JSON object")
    return found


def _constant(name: str) -> Never:
    raise UnreadableError(400, f"{name} is no number in JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise UnreadableError(400, f"{shown(name[:80])} is there twice")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Parameter:
    """A whole number in the query.

    Attributes:
        name: as it is written there.
        says: what it does.
        least: the smallest.
        most: the largest.
        default: where it is absent; ``None``: there is none.
    """

    name: str
    says: str
    least: int
    most: int
    default: int | None = None

    def read(self, text: str) -> int:
        """Its value.

        Raises:
            ValueError: it is no such number.
        """
        number = text.isascii() and text.isdigit() and len(text) <= _DIGITS
        if not number or not self.least <= int(text) <= self.most:
            raise ValueError(f"is no whole number from {self.least} to {self.most}")
        return int(text)


def query(request: Request, parameters: Sequence[Parameter]) -> dict[str, int | None]:
    """The parameters of a request.

    Raises:
        BadInputError: one cannot be read, is unknown, or is there twice.
    """
    known = {one.name: one for one in parameters}
    found = {one.name: one.default for one in parameters}
    seen: set[str] = set()
    problems = []
    for name, text in request.query_params.multi_items():
        try:
            found[name] = _known(known, seen, name).read(text)
        except ValueError as error:
            hint = f"known are: {', '.join(known) or 'none'}"
            problems.append(Problem(shown(name[:80]), str(error), hint))
        seen.add(name)
    if problems:
        raise BadInputError(problems)
    return found


def _known(known: Mapping[str, Parameter], seen: set[str], name: str) -> Parameter:
    if name not in known:
        raise ValueError("is no parameter of it")
    if name in seen:
        raise ValueError("is there twice")
    return known[name]
