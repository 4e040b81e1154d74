"""What a visit makes of the head of its answer, in the string type of either interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from canary_middleware.core.headers import HeaderRules, asgi_rules, wsgi_rules
from canary_middleware.engine.visit import Visit

Text = TypeVar("Text", bytes, str)
Headers = list[tuple[Text, Text]]


class Heads(Generic[Text]):
    """Edits the headers of answers.

    Args:
        rules: of the interface.
        name: a header's name from text to what the interface wants.
        value: likewise.
    """

    def __init__(
        self, rules: HeaderRules[Text], name: Callable[[str], Text], value: Callable[[str], Text]
    ) -> None:
        self.rules: HeaderRules[Text] = rules
        self._name: Callable[[str], Text] = name
        self._value: Callable[[str], Text] = value
        self._cookie: Text = rules.vary_line(("Cookie",))

    def edited(self, visit: Visit, given: Headers[Text]) -> Headers[Text]:
        """The headers of an exposed visit, or of one that keeps a token, with ours."""
        inputs: tuple[str, ...] = visit.inputs()
        vary: Text = self.rules.vary_line(("Cookie", *inputs)) if inputs else self._cookie
        line = visit.cookie_line() if visit.issue else None
        cookie: Text | None = self._value(line) if line else None
        headers: Headers[Text] | None = self.rules.edit(given, vary, cookie, no_store=visit.rescued)
        if headers is None:
            if visit.exposed:
                visit.note_public()
            return given
        if visit.given is not None:
            lines = visit.token_lines()
            headers += [(self._name(name), self._value(value)) for name, value in lines]
        return headers

    def keeping(self, cookie: str, given: Headers[Text]) -> Headers[Text]:
        """The headers of an answer outside of every rollout, with the cookie that keeps a token."""
        headers: Headers[Text] | None = self.rules.edit(given, self._cookie, self._value(cookie))
        return given if headers is None else headers


def asgi_heads() -> Heads[bytes]:
    """For ASGI messages."""
    return Heads[bytes](asgi_rules(), lambda name: name.lower().encode("ascii"), str.encode)


def wsgi_heads() -> Heads[str]:
    """For WSGI's native strings."""
    return Heads[str](wsgi_rules(), str, str)
