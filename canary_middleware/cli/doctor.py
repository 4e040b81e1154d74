"""``doctor``: what is wrong, or soon will be, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import click

from canary_middleware.cli.connection import Connection, connected
from canary_middleware.cli.failing import UNREACHABLE, USAGE
from canary_middleware.cli.inspecting import inspect
from canary_middleware.cli.show import paint, print_json, say
from canary_middleware.core.validate import rollout_problems
from canary_middleware.doctor import application
from canary_middleware.doctor.diagnosis import diagnose, sorted_by_level
from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import NAMED, Finding, Level, several
from canary_middleware.doctor.probing import examine, forgotten
from canary_middleware.doctor.searching import is_project, search
from canary_middleware.errors import ConfigurationError, Problem, StoreError
from canary_middleware.overview.wording import shown

FOUND: Final = 1
PATIENCE: Final = 1.0
"""Seconds for one answer of the store: there are a dozen questions."""
_COLORS: Final = {Level.BAD: "red", Level.WARNING: "yellow", Level.NOTE: "", Level.OK: "green"}
_TITLES: Final = {
    Level.BAD: "BAD: something does not work",
    Level.WARNING: "WARNING: something may fail, or was forgotten",
    Level.NOTE: "NOTE: good to know",
    Level.OK: "OK",
}


@click.command(
    epilog="""\b
Examples:
  canary doctor
  canary doctor --code src --strict --json
"""
)
@click.option(
    "--code",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where to look for rollouts that are over.  [default: here, if it is a project]",
)
@click.option("--app", metavar="MODULE:ATTR", help="Import an application, and see how it stands.")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings, too.")
@connected
def doctor(connection: Connection, code: Path | None, app: str | None, strict: bool) -> int:
    """Say what is wrong with store, keys, cookies, spans, processes or rollouts, and what to do.

    Exits 0 if nothing is bad, 1 if something is (with --strict also for a warning), 2 if no store
    is named, 3 if it does not answer or its state cannot be read.

    Changes nothing. On a Redis it tries what it may do on keys of its own, which it deletes.
    """
    seen, exit_code = _examined(connection, code)
    findings = diagnose(seen)
    if app is not None:
        findings += tuple(application.check(inspect(app), seen.namespace))
    findings = sorted_by_level(findings)
    if connection.as_json:
        print_json(_shape(seen, findings))
    else:
        _print(seen, findings)
    limit = Level.WARNING if strict else Level.BAD
    return exit_code or (FOUND if any(one.level >= limit for one in findings) else 0)


def _examined(connection: Connection, code: Path | None) -> tuple[Examined, int]:
    exit_code = 0
    try:
        with connection.store(PATIENCE) as store:
            seen = examine(store, connection.namespace, file=connection.file, patience=PATIENCE)
            exit_code = UNREACHABLE if seen.error else 0
    except ConfigurationError as error:
        seen, exit_code = Examined("", 0.0, unnamed=error.problems), USAGE
    except StoreError as error:  # there is no directory for its file
        seen, exit_code = Examined(connection.namespace, 0.0, error=str(error)), UNREACHABLE
    problems, configured = _problems(connection)
    # What stands in the file is told once, also where it is what keeps us from the store.
    unnamed = tuple(one for one in seen.unnamed if one not in problems)
    seen = replace(seen, unnamed=unnamed, problems=problems, configured=configured)
    root = code or Path.cwd()
    if code is not None or is_project(root):
        seen = replace(seen, searched=search(root, forgotten(seen.status)))
    return seen, exit_code


def _problems(connection: Connection) -> tuple[tuple[Problem, ...], bool]:
    """Of file and environment. Secrets may be missing: this is not the application."""
    found = connection.configuration
    # Whether the application identifies visitors is said by its code only.
    wrong = rollout_problems(found.rollouts, identified=True) if found.rollouts else []
    return (*found.problems, *found.placed(wrong)), found.file is not None


def _print(seen: Examined, findings: Sequence[Finding]) -> None:
    for level, group in groupby(findings, key=lambda one: one.level):
        say(paint(_TITLES[level], _COLORS[level]))
        for one in group:
            _print_one(one)
        say()
    say(_summary(seen, findings))


def _print_one(one: Finding) -> None:
    say(f"  {one.kind.area}: {shown(one.what)}")
    if one.why:
        say(f"      {shown(one.why)}")
    for place in one.where[:NAMED]:
        say(f"      - {shown(place)}")
    if len(one.where) > NAMED:
        say(f"      - and {len(one.where) - NAMED} more; --json has all")
    if one.remedy:
        say(f"      > {shown(one.remedy)}")


def _summary(seen: Examined, findings: Sequence[Finding]) -> str:
    counts = {level: sum(one.level is level for one in findings) for level in Level}
    name = f"namespace {shown(seen.namespace)}: " if seen.namespace else ""
    if not counts[Level.BAD] and not counts[Level.WARNING]:
        notes = several(counts[Level.NOTE], "note", "notes")
        return f"{name}all is well{f', {notes}' if counts[Level.NOTE] else ''}"
    warnings = several(counts[Level.WARNING], "warning", "warnings")
    return f"{name}{counts[Level.BAD]} bad, {warnings}; docs/doctor.md says more of each"


def _shape(seen: Examined, findings: Sequence[Finding]) -> dict[str, Any]:
    """As docs/doctor.md promises."""
    worst = max((one.level for one in findings), default=Level.OK)
    return {
        "namespace": seen.namespace,
        "level": worst.name.lower(),
        "findings": [
            {
                "kind": one.kind.value,
                "level": one.level.name.lower(),
                "what": one.what,
                "why": one.why,
                "remedy": one.remedy,
                "where": list(one.where),
            }
            for one in findings
        ],
    }
