"""A webhook that must agree before a release goes on: what it is asked, and what its answer means.

It is asked before a step that the controller would enter by itself, and before the promotion at
the end; never before anything that protects people, and never before what a person does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from canary_middleware.core.hook_address import host_of
from canary_middleware.core.reading import parse
from canary_middleware.core.state import Entry
from canary_middleware.core.weight import FULL, format_weight
from canary_middleware.errors import StoreCorruptError

GATE: Final = "gate"
"""``Entry.stopped`` of a release that is held by its webhook gate: who resumes it goes past."""
LARGEST: Final = 16 * 1024
"""Bytes of an answer that are read."""
REASON: Final = 200
"""Characters of its reason that are kept."""
HOST: Final = 100
"""Characters of its host that are shown; all words together must fit into a reason of history."""
GOOD_FOR: Final = 60.0
"""Seconds for which a yes counts: after that whatever kept the release may have changed more."""
_PAUSES: Final = (2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
_NUMBER: Final = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gate said.

    Attributes:
        allowed: ``None`` where it did not answer.
        reason: in words: its own, or why there is no answer.
    """

    allowed: bool | None
    reason: str = ""


AGREED: Final = Answer(True)


@dataclass(frozen=True, slots=True)
class Question:
    """One step of one run.

    Attributes:
        rollout: its name.
        release: canary label.
        run: revision of the start.
        stay: revision since which it is at its present weight.
        step: the one that it is at.
        before: weight that it has, in 0.001 %.
        after: weight that it would have.
        promotes: everybody gets it for good.
        url: of the gate.
    """

    rollout: str
    release: str
    run: int
    stay: int
    step: int
    before: int
    after: int
    promotes: bool
    url: str

    @property
    def id(self) -> str:
        """The same whoever asks, and however often."""
        parts = (self.rollout, self.release, self.run, self.stay, self.step, self.url)
        return f"gate_{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:26]}"


def question(rollout: str, entry: Entry) -> Question:
    """What the gate of a release is asked before the next step."""
    steps, to = entry.plan.steps, entry.step + 1
    promotes = to >= len(steps)
    return Question(
        rollout=rollout,
        release=entry.release,
        run=entry.run,
        stay=entry.stay[0].revision if entry.stay else entry.period,
        step=entry.step,
        before=entry.weight,
        after=FULL if promotes else steps[to],
        promotes=promotes,
        url=entry.plan.course.gate,
    )


def body(
    asked: Question, namespace: str, stable: str, why: str, evidence: Mapping[str, Any]
) -> bytes:
    """What is sent; docs/alerts.md promises these names."""
    told = {
        "type": "canary.gate",
        "question": asked.id,
        "namespace": namespace,
        "rollout": asked.rollout,
        "release": asked.release,
        "stable": stable,
        "from": format_weight(asked.before),
        "to": format_weight(asked.after),
        "promote": asked.promotes,
        "why": why,
        "evidence": evidence,
    }
    return json.dumps(told, separators=(",", ":")).encode()


def read(status: int, data: bytes) -> Answer:
    """What an answer means; anything but a plain yes or no is none.

    Args:
        status: of HTTP.
        data: the body, at most :data:`LARGEST` bytes and one more.
    """
    if not 200 <= status < 300:
        return Answer(None, f"it answered {status}")
    try:
        given = parse(data, LARGEST, "its answer", once=True).value
    except StoreCorruptError as error:
        return Answer(None, _line(str(error)))
    allow = given.get("allow") if isinstance(given, dict) else None
    if not isinstance(allow, bool):
        return Answer(None, 'its answer has no "allow": true or false')
    reason = given.get("reason")
    return Answer(allow, _line(reason) if isinstance(reason, str) else "")


def _line(text: str) -> str:
    """Words of a stranger, as history takes them."""
    clipped = "".join(c if c.isprintable() else " " for c in text[:REASON])
    return " ".join(clipped.split())


def pause(asked: int) -> float:
    """Seconds until it is asked again after so many questions without a yes."""
    return _PAUSES[min(max(asked, 1), len(_PAUSES)) - 1]


def waiver(step: int) -> str:
    """How ``Entry.waived`` says that a person went past the gate behind this step."""
    return f"{GATE} {step}"


def shown(url: str) -> str:
    """Whose answer it is."""
    return host_of(url)[:HOST]


def held(entry: Entry, answer: Answer) -> str:
    """Why a release does not go on, in words that stay as long as nothing else is so."""
    host = shown(entry.plan.course.gate)
    past = "asked again until it agrees; `canary resume` goes past it"
    if answer.allowed is None:
        return f"held, as its gate {host} has not answered: {answer.reason}; {past}"
    said = f": {answer.reason}" if answer.reason else " said no"
    return f"held by its gate {host}{said}; {past}"


def same(one: str, other: str) -> bool:
    """Whether two texts say the same but for numbers, which may change with every answer."""
    return _NUMBER.sub("0", one) == _NUMBER.sub("0", other)
