"""What is at hand: the configuration, and the code."""

from __future__ import annotations

from collections.abc import Iterator

from canary_middleware.doctor.examined import Examined
from canary_middleware.doctor.finding import Finding, Kind, Level, ok, several


def check_configuration(seen: Examined) -> Iterator[Finding]:
    """Each mistake with its place."""
    for problem in seen.problems:
        yield Finding(
            Kind.CONFIGURATION_WRONG,
            Level.BAD,
            f"{problem.place}: {problem.message}",
            "an application with this configuration does not start",
            problem.hint,
        )
    if seen.configured and not seen.problems:
        yield ok(Kind.CONFIGURATION_OK, "canary.toml and CANARY_* can be read")


def check_code(seen: Examined) -> Iterator[Finding]:
    """How far the search went; what it found stands with the rollouts."""
    searched = seen.searched
    if searched is None:
        return
    if not searched.whole:
        yield Finding(
            Kind.CODE_UNFINISHED,
            Level.NOTE,
            f"not all of {searched.root} was searched",
            f"after {several(searched.files, 'file', 'files')} it took too long, or was too much",
            "name the directory of the application with --code",
        )
    elif not searched.mentions:
        yield ok(Kind.CODE_OK, f"no rollout is over: nothing to look for in {searched.root}")
    else:
        count = sum(map(len, searched.mentions.values()))
        files = several(searched.files, "file", "files")
        places = several(count, "place names", "places name")
        yield ok(Kind.CODE_OK, f"{files} in {searched.root}, {places} a rollout")
