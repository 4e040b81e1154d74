"""A program that holds every answer of the API against the description that the panel gives."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

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


class Api:
    """Speaks with somebody's token.

    Args:
        panel: a running one.
        name: whose token; ``""`` is nobody's.
    """

    def __init__(self, panel: Panel, name: str = ALICE) -> None:
        self.panel, self.name = panel, name
        self.visitor = Visitor(panel.port, timeout=30)
        described = panel.bearer(ALICE, "GET", "/api/openapi.json")
        assert described.status == 200, described.text
        self.description: Mapping[str, Any] = json.loads(described.body)

    def get(self, path: str) -> Answer:
        return self.exchange("GET", path)

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"Content-Type": "application/json"}
        answer = self.exchange("POST", path, data, {**kind, **headers})
        operation = self.operation("POST", path)
        if answer.status == 200 and operation is not None:
            # What is accepted is what the description says.
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            self.validate(schema, body or {})
        return answer

    def exchange(
        self,
        method: str,
        path: str,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One exchange, whatever is sent."""
        token = self.panel.tokens.get(self.name)
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        sent = {**bearer, **(headers or {})}
        response = self.visitor.request(method, path, data, fetch=NO_METADATA, headers=sent)
        return self.checked(method, path, response)

    def checked(self, method: str, path: str, response: Response) -> Answer:
        """The same answer, if its description fits."""
        shape = json.loads(response.body)
        assert "no-store" in (response.header("Cache-Control") or ""), path
        kind = response.header("Content-Type")
        operation = self.operation(method, path)
        if operation is None:
            assert response.status in {401, 403, 404, 405}, response.text
            self.validate({"$ref": "#/components/schemas/Problem"}, shape)
            assert kind == "application/problem+json"
            return Answer(response.status, shape, response)
        described = operation["responses"].get(str(response.status))
        assert described is not None, f"{method} {path}: {response.status} {response.text}"
        if "$ref" in described:
            described = self.description["components"]["responses"][
                described["$ref"].split("/")[-1]
            ]
        ((media, content),) = described["content"].items()
        assert kind == media, f"{path}: {kind}"
        self.validate(content["schema"], shape)
        if response.status != 200:
            assert shape["status"] == response.status
        return Answer(response.status, shape, response)

    def operation(self, method: str, path: str) -> Mapping[str, Any] | None:
        """What the description has for it."""
        wanted = path.partition("?")[0].removeprefix("/api")
        for template, methods in self.description["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, wanted) and method.lower() in methods:
                found: Mapping[str, Any] = methods[method.lower()]
                return found
        return None

    def validate(self, schema: Mapping[str, Any], value: object) -> None:
        whole = {**schema, "components": self.description["components"]}
        Draft202012Validator(whole).validate(value)
