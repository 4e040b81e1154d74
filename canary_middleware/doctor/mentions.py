"""Where a text of a project says the name of a rollout, and means it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import Final

_FORMS: Final = (
    # A call whose first argument it is: current("checkout"), versioned("checkout", ...)
    r"\b(?:Rollout|current|versioned|canary_route)\s*\(\s*(?:name\s*=\s*)?[\"'](?P<a>{names})[\"']",
    r"\bassignment_from\s*\([^,()]*,\s*[\"'](?P<b>{names})[\"']",
    r"\btargets\s*\[\s*[\"'](?P<c>{names})[\"']\s*\]",
    # canary.toml: [rollouts.checkout], [rollouts.checkout.ramp]
    r"^[ \t]*\[\s*rollouts\.[\"']?(?P<d>{names})[\"']?\s*[\].]",
    # A key, which counts within targets={"checkout": app} only
    r"[\"'](?P<e>{names})[\"']\s*:",
)
_TARGETS: Final = re.compile(r"\btargets\b[^{}\n]{0,200}\{[^{}]*\}")
"""A dictionary of targets. No expression here may look at one place again for each of many others:
a search looks at the clock between files only."""


def mentions(text: str, names: Collection[str]) -> Iterator[tuple[str, int]]:
    """Name and number of the line, in the order of the text; a line counts once for a name."""
    said = frozenset(name for name in names if name in text)
    if not said:  # most files; to know that is a hundred times as fast
        return
    *forms, key = _compiled(said)
    found = [place for form in forms for place in _sought(form, text)]
    for block in _TARGETS.finditer(text):
        found += _sought(key, text, *block.span())
    for line, name in sorted({(text.count("\n", 0, at) + 1, name) for at, name in found}):
        yield name, line


def _sought(
    form: re.Pattern[str], text: str, begin: int = 0, end: int | None = None
) -> Iterator[tuple[int, str]]:
    for match in form.finditer(text, begin, len(text) if end is None else end):
        group = match.lastgroup
        if group:
            yield match.start(group), match[group]


@lru_cache(maxsize=8)
def _compiled(names: frozenset[str]) -> tuple[re.Pattern[str], ...]:
    either = "|".join(sorted(map(re.escape, names), key=len, reverse=True)) or "(?!)"
    return tuple(re.compile(form.format(names=either), re.MULTILINE) for form in _FORMS)
