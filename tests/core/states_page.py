"""Writes docs/states.md from the transition table: ``python -m tests.core.states_page``."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from canary_middleware.cli.app import cli
from canary_middleware.core.refusals import Refusal
from canary_middleware.core.state import ACTIVE, Phase, Verb
from canary_middleware.core.transitions import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
COMMANDS = frozenset(verb for verb in Verb if verb.value in cli.commands)
"""The verbs that a person can type."""
INTRODUCTION = """\
# Phases and verbs

Generated from `canary_middleware/core/transitions.py` by `python -m tests.core.states_page`; a test
keeps it in step.

A release is `idle` until somebody starts it. In the phases marked ● the dead-man's switch applies:
a process that has not heard from the store for `max_staleness` serves stable. The others fail
static: months after a promotion a blip of the store moves nobody.

`start` with a weight, or of a rollout without a ramp, is `start` followed by `weight`: it ends in
`paused`. `kill` is not in the table, because it is never refused: it sends everybody to stable and
freezes the phase. While it is in force only `revive` and `rollback` are accepted; `revive` ends in
`paused` at the old weight, or in the phase that was closed anyway.

`paused` is about the ramp and not about visitors: nothing raises the weight by itself any more, and
the weight that it has is still served. To take everybody off the canary use `rollback` or `kill`.
After `weight 0%` nobody is drawn any more; testers stay, and so does whom the policy holds: under
`keep` those who have seen the canary, under `session` those whose session is open
([policies.md](policies.md)).

"""


def _who() -> str:
    text = (
        f"A person types {_listed(COMMANDS)} ([cli.md](cli.md)). The verbs marked ¹, "
        f"{_listed(frozenset(Verb) - COMMANDS)}, are no commands: they belong to the controller, "
        "which moves a ramp with `bake` by itself ([ramps.md](ramps.md)). A ramp without it stays "
        "at its step until somebody moves it."
    )
    return fill(text, 100, break_long_words=False, break_on_hyphens=False) + "\n"


def _listed(verbs: frozenset[Verb]) -> str:
    return ", ".join(f"`{verb.value}`" for verb in Verb if verb in verbs)


def _marked(verb: Verb, name: str) -> str:
    return name if verb in COMMANDS else f"{name} ¹"


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION + _who(), *_diagram(), "", *_table(), "", *_refusals(), ""])


def _diagram() -> list[str]:
    moves: dict[tuple[Phase, Phase], list[str]] = {}
    for (phase, verb), cell in TABLE.items():
        if isinstance(cell, Phase) and (cell is not phase or verb is Verb.ADVANCE):
            moves.setdefault((phase, cell), []).append(_marked(verb, verb.value))
    arrows = [
        f"    {phase.value} --> {to.value}: {', '.join(verbs)}"
        for (phase, to), verbs in moves.items()
    ]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> idle", *arrows, "```"]


def _table() -> list[str]:
    head = "| phase | " + " | ".join(_marked(verb, f"`{verb.value}`") for verb in Verb) + " |"
    rows = [
        f"| {'● ' if phase in ACTIVE else ''}`{phase.value}` | "
        + " | ".join(_cell(TABLE[phase, verb]) for verb in Verb)
        + " |"
        for phase in Phase
    ]
    return [head, "|---" * (len(Verb) + 1) + "|", *rows]


def _cell(cell: Phase | Refusal) -> str:
    return "no" if isinstance(cell, Refusal) else cell.value


def _refusals() -> list[str]:
    hints: dict[tuple[Phase, str], list[str]] = {}
    for (phase, verb), cell in TABLE.items():
        if isinstance(cell, Refusal):
            hints.setdefault((phase, cell.hint), []).append(_marked(verb, f"`{verb.value}`"))
    return [
        "A verb that does not fit (no) changes nothing and says what to do instead:",
        "",
        "| phase | verb | what to do |",
        "|---|---|---|",
        *(f"| `{at.value}` | {', '.join(verbs)} | {hint} |" for (at, hint), verbs in hints.items()),
        "",
        "`paused` without a ramp to go on with names `promote` and `rollback` instead of `resume`.",
    ]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
