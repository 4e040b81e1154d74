"""A program that holds every answer of the API against the description that the panel gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.panel.rig import ALICE, Panel
from tests.support.clients import NO_METADATA, Response, Visitor


@dataclass(frozen=True)
class Answer:
    """One that fits its description."""

    status: int
    json: Any
    response: Response

    @property
    def code(self) -> str:
        return str(self.json["code"])


class Description:
    """What the panel says that its API is.

    Args:
        panel: a running one.
    """

    def __init__(self, panel: Panel) -> None:
        described = panel.bearer(ALICE, "GET", "/api/openapi.json")
        assert described.status == 200, described.text
        self.document: Mapping[str, Any] = json.loads(described.body)
        resource = DRAFT202012.create_resource(self.document)
        registry: Registry[Any] = Registry().with_resource("urn:api", resource)
        self._validators = {
            name: Draft202012Validator(
                {"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry
            )
            for name in self.document["components"]["schemas"]
        }

    def validate(self, schema: str, value: object) -> None:
        """Hold a value against a component, by its name or by a reference to it."""
        self._validators[schema.rsplit("/", 1)[-1]].validate(value)

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """What there is to say of a request."""
        wanted = path.partition("?")[0].removeprefix("/api")
        for template, methods in self.document["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, wanted) and method.lower() in methods:
                found: Mapping[str, Any] = methods[method.lower()]
                return found
        return None

    def check(self, method: str, path: str, response: Response) -> Any:
        """The JSON of an answer, if all of it is as described."""
        shape = json.loads(response.body)
        assert "no-store" in (response.header("Cache-Control") or ""), path
        operation = self.operation(method, path)
        if operation is None:
            assert response.status in {401, 403, 404, 405, 429}, response.text
            schema, media = "Problem", "application/problem+json"
        else:
            described = operation["responses"].get(str(response.status))
            assert described is not None, f"{method} {path}: {response.status} {response.text}"
            schema, media = self._content(described)
        assert response.header("Content-Type") == media, path
        self.validate(schema, shape)
        assert response.status == 200 or shape["status"] == response.status
        return shape

    def _content(self, described: Mapping[str, Any]) -> tuple[str, str]:
        if "$ref" in described:
            name = described["$ref"].rsplit("/", 1)[-1]
            described = self.document["components"]["responses"][name]
        ((media, content),) = described["content"].items()
        return content["schema"]["$ref"], media


class Api:
    """Speaks with somebody's token.

    Args:
        panel: a running one.
        description: that of it.
        name: whose token; ``""`` is nobody's.
    """

    def __init__(self, panel: Panel, description: Description, name: str = ALICE) -> None:
        self.panel, self.description = panel, description
        self.visitor = Visitor(panel.port, timeout=30)
        token = panel.tokens.get(name)
        self.bearer = {"Authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.visitor.close()

    def get(self, path: str) -> Answer:
        return self.exchange("GET", path)

    def post(self, path: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        answer = self.exchange("POST", path, data, kind)
        operation = self.description.operation("POST", path)
        if answer.status == 200 and operation is not None:
            # What is accepted is what the description says.
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self.description.validate(schema["$ref"], body or {})
        return answer

    def exchange(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange, whatever is sent."""
        sent = {**self.bearer, **(headers or {})}
        response = self.visitor.request(method, path, data, fetch=NO_METADATA, headers=sent)
        shape = self.description.check(method, path, response)
        return Answer(response.status, shape, response)
