"""Reads file and variables, and remembers where everything stood and what was wrong with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Final

from canary_middleware.config.kinds import (
    FILE,
    PARTS,
    ROLLOUT,
    VARIABLES,
    Check,
    spoken,
)
from canary_middleware.config.shapes import PartlyError, WrongError, group
from canary_middleware.core.model import Rollout
from canary_middleware.errors import Problem

FILE_VARIABLE: Final = "CANARY_CONFIG"
DEFAULT_FILE: Final = "canary.toml"
"""Read from the working directory where no other file is named."""

Key = tuple[str, str]
"""A setting and ``""``, or ``rollouts.<name>`` and one of its fields, dotted."""
NOWHERE: Final = ("", "")


class Reader:
    """Checks values and remembers their places and what was wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.reported: set[Key] = set()
        self.places: dict[Key, str] = {}

    def report(self, key: Key, place: str, message: str, hint: str) -> None:
        """Something is wrong; what the facade finds at the same key adds nothing."""
        self.problems.append(Problem(place, message, hint))
        if key != NOWHERE:
            self.reported.add(key)

    def file(self, file: Path | None) -> dict[str, Any]:
        """The settings in the file."""
        if file is None:
            return {}
        try:
            table = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            hint = f"name another one with {FILE_VARIABLE}"
            self.report(NOWHERE, str(file), f"cannot be read: {error.strerror}", hint)
        except ValueError as error:  # no TOML, or no UTF-8
            self.report(NOWHERE, str(file), f"is not TOML: {error}", "see docs/configuration.md")
        else:
            return self._members(table, f"{file}:", FILE)
        return {}

    def variables(self, environ: Mapping[str, str]) -> dict[str, Any]:
        """The settings in variables; an empty one counts as unset."""
        good: dict[str, Any] = {}
        for variable, text in environ.items():
            name = VARIABLES.get(variable)
            if name is None:
                self._misspelt(variable)
            elif text:
                self._value(good, name, (name, ""), variable, partial(spoken, name), text)
        return good

    def secrets(self, layer: dict[str, Any], folder: Path) -> dict[str, Any]:
        """The same settings with secrets in place of the files that hold them."""
        for name in ("secret_keys", "bucket_secret", "webhook_secret"):
            file = layer.pop(f"{name}_file", None)
            if file is None:
                continue
            place = self.places[f"{name}_file", ""]
            if name in layer:
                self.report((name, ""), place, f"stands beside {name}", "keep one of them")
            lines = self._lines(folder / file, (name, ""), place)
            layer[name] = lines if name == "secret_keys" else "\n".join(lines)
            self.places[name, ""] = place
        return layer

    def rollouts(self, tables: Mapping[str, object]) -> list[Rollout]:
        """One rollout per table; stand-ins take the place of what is wrong."""
        place = self.places.get(("rollouts", ""), "rollouts")
        if not place.endswith("rollouts"):
            place += ": rollouts"
        good: dict[str, Any] = {}
        for name, table in tables.items():
            self._value(good, name, ("rollouts", name), f"{place}.{name}", group, table)
        return [self._rollout(name, table, f"{place}.{name}") for name, table in good.items()]

    # --- private --------------------------------------------------------------------------------

    def _rollout(self, name: str, table: Mapping[str, object], place: str) -> Rollout:
        within = f"rollouts.{name}"
        self.places[within, ""] = place
        fields = self._members(table, f"{place}.", ROLLOUT, within)
        for side in ("stable", "canary"):
            if side not in table:
                self.report((within, side), f"{place}.{side}", "is missing", f'{side} = "1.5.0"')
            fields.setdefault(side, f"no-{side}")
        for part, (kind, checks) in PARTS.items():
            if part in fields:
                inner = self._members(fields[part], f"{place}.{part}.", checks, within, f"{part}.")
                fields[part] = kind(**inner)
        return Rollout(name, **fields)

    def _members(
        self,
        table: Mapping[str, object],
        prefix: str,
        checks: Mapping[str, Check],
        within: str = "",
        part: str = "",
    ) -> dict[str, Any]:
        good: dict[str, Any] = {}
        for name, value in table.items():
            key = (within, part + name) if within else (name, "")
            if name in checks:
                self._value(good, name, key, prefix + name, checks[name], value)
            else:
                self.report(key, prefix + name, "is unknown", _meant(name, checks))
        return good

    def _value(
        self, good: dict[str, Any], name: str, key: Key, place: str, check: Check, value: Any
    ) -> None:
        self.places[key] = place
        try:
            good[name] = check(value)
        except WrongError as wrong:
            self.report(key, place, wrong.message, wrong.hint)
        except PartlyError as partly:
            for one in partly.wrong:
                self.report((key[0], key[1] + one.at), place + one.at, one.message, one.hint)
            good[name] = partly.rest

    def _misspelt(self, variable: str) -> None:
        # Other programs may use the prefix, so only what looks like one of ours is a mistake.
        if variable.startswith("CANARY_") and variable != FILE_VARIABLE:
            for meant in get_close_matches(variable, VARIABLES, 1, 0.85):
                self.report(NOWHERE, variable, "is unknown", f"did you mean {meant}?")

    def _lines(self, file: Path, key: Key, place: str) -> tuple[str, ...]:
        try:
            return tuple(file.read_text(encoding="utf-8").split())
        except (OSError, ValueError) as error:
            # Never the error itself: it may show what it could not decode.
            why = getattr(error, "strerror", None) or "no UTF-8"
            self.report(key, place, f"{file} cannot be read: {why}", "one secret per line")
            return ()


_ADDRESS: Final = re.compile(r"(?:rollout '(?P<rollout>[^']*)'|(?P<setting>\w+))(?P<rest>.*)")


def file_of(path: str | Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read, if there is one to read."""
    named = path or environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def _meant(name: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(name, known, 1, 0.7)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(known)}"


def address(place: str) -> tuple[Key, str]:
    """A place as the facade names it, as a key and what is left of it."""
    found = _ADDRESS.fullmatch(place)
    if found is None:
        return NOWHERE, place
    rest = found["rest"]
    if found["setting"]:
        return (found["setting"], ""), rest
    return (f"rollouts.{found['rollout']}", ".".join(rest.split(", ")[1:])), ""
