"""Who may sign in: the lines of a token file, and the tokens that they know. Pure but for chance.

A token is 256 random bits that we made. Its SHA-256 is its proof, and the file keeps the SHA-256 of
that: nobody gets in with what is in the file. That is enough, and fast: salt and slow hashes are
for what people think up. What does not look like one of our tokens is never compared, so a line
with the hash of somebody's password lets nobody in.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.errors import Problem
from canary_middleware.panel.people import Person, Role

PREFIX: Final = "cnp_"
"""Of every token, so that people and scanners for leaked secrets recognise one."""
LONGEST_NAME: Final = 80
MOST_LINES: Final = 1_000

_TOKEN: Final = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")
_HASH: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SHAPE: Final = "`name role sha256:<64 hex digits>`, as `canary panel token NAME` writes it"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a token file.

    Attributes:
        person: who has the token.
        digest: SHA-256 of the proof, 32 bytes.
    """

    person: Person
    digest: bytes

    @property
    def id(self) -> str:
        """Names the line in a session without saying its hash; 16 hex digits."""
        return hashlib.sha256(b"line" + self.digest).hexdigest()[:16]


def proof(token: str) -> bytes:
    """What only the token gives, and what gives no token; 32 bytes."""
    return hashlib.sha256(token.encode()).digest()


def is_proof(line: Line, data: bytes) -> bool:
    """Whether that is the proof of which the line keeps the hash."""
    return hmac.compare_digest(hashlib.sha256(data).digest(), line.digest)


def mint() -> str:
    """A new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def written(person: Person, token: str) -> str:
    """The line that lets the bearer of a token in."""
    return f"{person.name} {person.role.value} sha256:{_digest(token).hex()}"


def find(lines: Iterable[Line], token: str) -> Line | None:
    """The line of a token; how long it takes tells nothing about any line."""
    if not _TOKEN.fullmatch(token):
        return None
    digest = _digest(token)
    # All of them, always.
    found = [line for line in lines if hmac.compare_digest(line.digest, digest)]
    return found[0] if found else None


def parse(text: str, place: str) -> tuple[Sequence[Line], Sequence[Problem]]:
    """The lines of a token file, and what is wrong with the others.

    Args:
        text: of the file; empty lines and those that begin with ``#`` say nothing.
        place: names the file in problems.
    """
    lines: dict[bytes, Line] = {}
    problems: list[Problem] = []
    for number, content in enumerate(text.splitlines(), 1):
        if not content.strip() or content.lstrip().startswith("#"):
            continue
        line = _line(content, f"{place}:{number}", problems)
        if line is not None and line.digest in lines:
            problems.append(Problem(f"{place}:{number}", "has the token of another line", _NEW))
        elif line is not None:
            lines[line.digest] = line
    if len(lines) > MOST_LINES:
        wrong = f"has {len(lines)} lines, of at most {MOST_LINES}"
        problems.append(Problem(place, wrong, "Canary's own check: panel(check=...)"))
    return list(lines.values())[:MOST_LINES], problems


_NEW: Final = "make one for each person: canary panel token NAME"


def _line(content: str, place: str, problems: list[Problem]) -> Line | None:
    # Never a part of the line itself: it may be a token that was written there by mistake.
    parts = content.rsplit(None, 2)
    if len(parts) != 3:
        problems.append(Problem(place, "is no line of a token file", _SHAPE))
        return None
    name, role, digest = parts[0].strip(), parts[1], parts[2]
    before = len(problems)
    if problem := name_problem(name):
        problems.append(Problem(place, problem, "the name that history shows"))
    if role not in {each.value for each in Role}:
        problems.append(Problem(place, "its role is none", "view or operate"))
    if _TOKEN.fullmatch(digest):
        problems.append(Problem(place, "has the token itself, which is burnt now", _NEW))
    elif not _HASH.fullmatch(digest):
        problems.append(Problem(place, "its hash is none", _SHAPE))
    if len(problems) > before:
        return None
    return Line(Person(name, Role(role)), bytes.fromhex(digest.removeprefix("sha256:")))


def name_problem(name: str) -> str:
    """What is wrong with the name of a person; nothing is ``""``."""
    if not name or not name.isprintable() or name != name.strip():
        return "its name cannot be printed"
    if name.startswith("#"):
        return "its name begins with #, which begins a comment"
    return f"its name is longer than {LONGEST_NAME} characters" if len(name) > LONGEST_NAME else ""


def _digest(token: str) -> bytes:
    return hashlib.sha256(proof(token)).digest()
