"""What differs between two recordings of one case, and which rule, if any, allows it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from tests.upstream.transparency.wire import Header, Message

ABSOLUTE: Final = re.compile(rb"(?i)https?://[^/?]*")
PROTECTED: Final = re.compile(
    rb"host|content-.*|cookie|authorization|(x-)?forwarded.*|cache-control|set-cookie|vary"
    rb"|te|transfer-encoding"
)
"""What ``Connection`` cannot take away: what frames a message, says whom it is from or for whom it
is (7.6.1 forbids to name it), and what each hop says anew."""


class Side(Enum):
    """Which way a message went."""

    REQUEST = "request"
    ANSWER = "answer"


class Change(Enum):
    """What happened to a part of a message on its way."""

    DROPPED = "dropped"
    ADDED = "added"
    REPLACED = "replaced"
    JOINED = "joined"  # several lines of one name became one
    MOVED = "moved"  # stands elsewhere among other names
    SPELLED = "spelled"  # upper and lower case of the name
    KEPT = "kept"  # although it has to go or to change


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        part: "header", "order", "target", "reason", "body", ... of the message.
        name: of the header, in lower case; empty for other parts.
        why: the reason of the rule that allows it; None if none does.
    """

    side: Side
    part: str
    name: bytes
    change: Change
    direct: bytes
    seen: bytes
    why: str | None = None

    def __str__(self) -> str:
        what = f"{self.part} {self.name.decode('latin-1')}".strip()
        return f"{self.side.value} {what} {self.change.value}: {_short(self.direct, self.seen)}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A difference that is allowed, and why.

    Attributes:
        names: header names in lower case; None is any.
        direct: what the direct value has to look like, None is anything; ``seen`` alike.
        nominated: the names are those that ``Connection`` of the direct message lists.
        must: a value that arrives unchanged is the difference that is not allowed.
    """

    side: Side
    part: str
    changes: tuple[Change, ...]
    why: str
    names: frozenset[bytes] | None = None
    direct: re.Pattern[bytes] | None = None
    seen: re.Pattern[bytes] | None = None
    nominated: bool = False
    must: bool = False

    def covers(self, side: Side, part: str, name: bytes, message: Message) -> bool:
        if side is not self.side or part != self.part:
            return False
        if self.nominated:
            return name in nominated(message)
        return self.names is None or name in self.names

    def allows(self, difference: Difference, message: Message) -> bool:
        return (
            difference.change in self.changes
            and self.covers(difference.side, difference.part, difference.name, message)
            and (self.direct is None or bool(self.direct.fullmatch(difference.direct)))
            and (self.seen is None or bool(self.seen.fullmatch(difference.seen)))
        )


Rules = tuple[Rule, ...]


def nominated(message: Message) -> set[bytes]:
    """What ``Connection`` lists, without what it cannot take away (RFC 9110 7.6.1)."""
    listed = b",".join(message.values(b"connection")).split(b",")
    names = {name.strip().lower() for name in listed}
    return {name for name in names if name and not PROTECTED.fullmatch(name)}


def compare(
    side: Side, direct: Sequence[Message], seen: Sequence[Message], rules: Rules
) -> list[Difference]:
    """All differences of two rows of messages, each with the reason that allows it."""
    if len(direct) != len(seen):
        there, here = (b" | ".join(message.line for message in row) for row in (direct, seen))
        return [Difference(side, "number of messages", b"", Change.REPLACED, there, here)]
    return [
        excused(difference, there, rules)
        for there, here in zip(direct, seen, strict=True)
        for difference in _message(side, there, here, rules)
    ]


def excused(difference: Difference, message: Message, rules: Rules) -> Difference:
    for rule in rules:
        if rule.allows(difference, message):
            return Difference(*_fields(difference), why=rule.why)
    return difference


def _fields(difference: Difference) -> tuple[Side, str, bytes, Change, bytes, bytes]:
    one = difference
    return one.side, one.part, one.name, one.change, one.direct, one.seen


def _message(side: Side, direct: Message, seen: Message, rules: Rules) -> Iterator[Difference]:
    parts = zip(_parts(side, direct), _parts(side, seen), strict=True)
    for (part, there), (_, here) in parts:
        if there != here and (part != "form" or here):  # a flaw that was mended is none
            name = b"absolute" if part == "target" and _path_of(there) == here else b""
            change = Change.DROPPED if there and not here else Change.REPLACED
            yield Difference(side, part, name, change, there, here)
    yield from _headers(side, direct, seen, rules)


def _path_of(target: bytes) -> bytes:
    """What is left of the absolute form (RFC 9112 3.2.2)."""
    path = ABSOLUTE.sub(b"", target)
    return path if path.startswith(b"/") else b"/" + path


def _parts(side: Side, message: Message) -> list[tuple[str, bytes]]:
    """Everything of a message but its headers, as named bytes."""
    words = [*message.line.split(b" ", 2), b"", b""][:3]
    names = ("method", "target", "version")
    if side is Side.ANSWER:
        names = ("version", "status", "reason")
    return [
        *zip(names, words, strict=True),
        ("framing", message.framing.encode()),
        ("body", message.body),
        ("trailers", b"".join(b"%s: %s\n" % pair for pair in message.trailers)),
        ("completeness", b"complete" if message.complete else b"cut"),
        ("form", "; ".join(message.flaws).encode()),
    ]


def _headers(side: Side, direct: Message, seen: Message, rules: Rules) -> Iterator[Difference]:
    there, here = _by_name(direct.headers), _by_name(seen.headers)
    for name in dict.fromkeys((*there, *here)):
        old, new = there.get(name, []), here.get(name, [])
        values = [value for _, value in old], [value for _, value in new]
        if values[0] != values[1]:
            one, other = b" | ".join(values[0]), b" | ".join(values[1])
            yield Difference(side, "header", name, _change(name, *values), one, other)
            continue
        if _must_change(side, name, direct, rules):
            kept = b" | ".join(values[0])
            yield Difference(side, "header", name, Change.KEPT, kept, kept)
        spelled = b" ".join(key for key, _ in old), b" ".join(key for key, _ in new)
        if spelled[0] != spelled[1]:
            yield Difference(side, "header", name, Change.SPELLED, *spelled)
    yield from _order(side, direct, seen, rules)


def _must_change(side: Side, name: bytes, direct: Message, rules: Rules) -> bool:
    return any(rule.must and rule.covers(side, "header", name, direct) for rule in rules)


def _change(name: bytes, direct: list[bytes], seen: list[bytes]) -> Change:
    """Lists are joined by commas, cookies by semicolons (RFC 9113 8.2.3), Set-Cookie never."""
    if not direct or not seen:
        return Change.DROPPED if direct else Change.ADDED
    commas = {b"cookie": (b"; ",), b"set-cookie": ()}.get(name, (b", ", b","))
    joined = any(seen == [comma.join(direct)] for comma in commas)
    return Change.JOINED if joined else Change.REPLACED


def _order(side: Side, direct: Message, seen: Message, rules: Rules) -> Iterator[Difference]:
    """Order among different names; that of equal ones is the order of their values."""
    there, here = _by_name(direct.headers), _by_name(seen.headers)
    same = {name for name in there if len(there[name]) == len(here.get(name, []))}
    moved = [rule for rule in rules if Change.MOVED in rule.changes]
    strict = {
        name
        for name in same
        if not any(rule.covers(side, "header", name, direct) for rule in moved)
    }
    if (rows := _rows(direct, seen, strict))[0] != rows[1]:
        yield Difference(side, "order", b"", Change.MOVED, *rows)
        return
    for name in sorted(same - strict):
        if (rows := _rows(direct, seen, strict | {name}))[0] != rows[1]:
            yield Difference(side, "header", name, Change.MOVED, *rows)


def _rows(direct: Message, seen: Message, names: set[bytes]) -> tuple[bytes, bytes]:
    return _sequence(direct.headers, names), _sequence(seen.headers, names)


def _sequence(headers: Iterable[Header], names: set[bytes]) -> bytes:
    return b" ".join(name.lower() for name, _ in headers if name.lower() in names)


def _by_name(headers: Iterable[Header]) -> dict[bytes, list[Header]]:
    found: dict[bytes, list[Header]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append((name, value))
    return found


def _short(direct: bytes, seen: bytes, width: int = 70) -> str:
    at = next((i for i, (a, b) in enumerate(zip(direct, seen)) if a != b), 0)  # noqa: B905
    start = max(0, at - width // 2)
    shown = [repr(text[start : start + width])[1:] for text in (direct, seen)]
    return f"{shown[0]} -> {shown[1]}"
