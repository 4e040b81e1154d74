"""The shapes of answers, as JSON Schema has them; tests hold every answer against these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from canary_middleware.core.model import Cohort, Memory, Policy
from canary_middleware.core.series import PHASES
from canary_middleware.core.state import Phase
from canary_middleware.overview.lines import QUANTILES

Schema = Mapping[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer"}
_NUMBER: Final[Schema] = {"type": "number"}
_FLAG: Final[Schema] = {"type": "boolean"}
_TIME: Final[Schema] = {"type": "number", "description": "Seconds since the epoch."}
_WEIGHT: Final[Schema] = {"type": "string", "pattern": r"^\d{1,3}(\.\d{1,3})?%$"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}


def _object(**members: Schema) -> Schema:
    return {
        "type": "object",
        "properties": members,
        "required": list(members),
        "additionalProperties": False,
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _perhaps(schema: Schema) -> Schema:
    """The same, or ``null``."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


_RELEASE: Final[Mapping[str, Schema]] = {
    "release": _TEXT,
    "stable": _TEXT,
    "phase": {"enum": [one.value for one in Phase]},
    "weight": _WEIGHT,
    "owner": _perhaps(_TEXT),
    "policy": {"enum": [one.value for one in Policy]},
    "affinity": {"enum": [one.value for one in Memory]},
    "since": _TIME,
    "why": _TEXT,
    "epoch": _WHOLE,
    "period": _WHOLE,
    "rollback_until": _perhaps(_TIME),
}
_NAMED: Final[Mapping[str, Schema]] = {"rollout": _TEXT, "revision": _WHOLE}
_KILL: Final[Mapping[str, Schema]] = {
    "scope": {"type": "string", "description": "A rollout, or * for all."},
    "by": _TEXT,
    "why": _TEXT,
    "at": _TIME,
    "revision": _WHOLE,
}
_PROGRESS: Final[Mapping[str, Schema]] = {
    "ended": {"type": "boolean", "description": "Whether nothing more happens by itself."},
    "ramp": _perhaps(_ref("Ramp")),
    "measured": _perhaps(_ref("Measured")),
    "trouble": _perhaps({"type": "string", "description": "Why totals cannot be read."}),
}
_VIEW: Final[Mapping[str, Schema]] = {
    "rollout": _TEXT,
    "killed": _FLAG,
    "current": _perhaps(_ref("Release")),
    **_PROGRESS,
    "last": _perhaps(_ref("Line")),
}
_WARNED: Final[Mapping[str, Schema]] = {
    "warnings": {**_TEXTS, "description": "What whoever did it should know."}
}
_EVIDENCE: Final[Schema] = {
    "type": "object",
    "description": "What was known then; docs/watch.md has its members.",
}
_REVISION: Final[Schema] = _perhaps(_WHOLE)
_SEEN: Final[Mapping[str, Schema]] = {
    "namespace": _TEXT,
    "at": _TIME,
    "revision": _REVISION,
}

COMPONENTS: Final[Mapping[str, Schema]] = {
    "Release": _object(**_RELEASE),
    "Kill": _object(**_KILL),
    "Ramp": _object(
        step=_WHOLE, steps=_WHOLE, passed=_NUMBER, left=_NUMBER, then=_perhaps(_WEIGHT),
        approval=_FLAG,
    ),
    "Version": _object(
        cohort={"enum": [one.value for one in Cohort]}, version=_TEXT, share=_WEIGHT,
        requests=_WHOLE, errors=_WHOLE, client_errors=_WHOLE, p50=_perhaps(_NUMBER),
        p95=_perhaps(_NUMBER), p99=_perhaps(_NUMBER),
        observed={"type": "object", "additionalProperties": _object(requests=_WHOLE, above=_WHOLE)},
    ),
    "Measured": _object(
        standing=_TEXT, versions=_list(_ref("Version")), evidence=_EVIDENCE, processes=_WHOLE,
        age=_perhaps(_NUMBER),
    ),
    "Line": _object(
        at=_TIME, by=_TEXT, action=_TEXT, scope=_TEXT, old=_TEXT, new=_TEXT, why=_TEXT,
        revision=_WHOLE, evidence=_EVIDENCE,
    ),
    "History": _list(_ref("Line")),
    "Streams": _object(
        rollout=_TEXT, version=_TEXT, open=_WHOLE, losing=_WHOLE, within=_perhaps(_NUMBER)
    ),
    "Process": _object(
        id=_TEXT, host=_TEXT, pid=_WHOLE, kind=_TEXT, revision=_REVISION, behind=_FLAG,
        staleness=_perhaps(_NUMBER), in_flight=_WHOLE, streams=_list(_ref("Streams")),
        silent=_list(_object(rollout=_TEXT, version=_TEXT, why=_perhaps(_TEXT))),
        at=_TIME, kill_file=_perhaps(_TEXT),
        declares={"type": "object", "additionalProperties": _TEXT},
    ),
    "Processes": _object(**_SEEN, processes=_list(_ref("Process"))),
    "Status": _object(
        namespace=_TEXT, lineage=_perhaps(_TEXT), revision=_REVISION, kill_key=_perhaps(_TEXT),
        warnings=_TEXTS, kills=_list(_object(**_KILL, known=_FLAG)),
        rollouts=_list(_object(
            rollout=_TEXT, killed=_FLAG, current=_perhaps(_ref("Release")),
            releases=_list(_ref("Release")), **_PROGRESS,
        )),
        waiting=_list(_object(rollout=_TEXT, release=_TEXT, run=_TEXT)),
        odd=_list(_object(
            rollout=_TEXT, release=_TEXT,
            differs=_list(_object(what=_TEXT, declared=_TEXT, in_force=_TEXT)),
            processes=_TEXTS, run=_perhaps(_TEXT),
        )),
        scopes=_list(_object(
            rollout=_TEXT, release=_TEXT, paths=_TEXTS, methods=_TEXTS, exclude=_TEXTS,
            processes=_TEXTS,
        )),
        streams=_list(_ref("Streams")), processes=_list(_ref("Process")),
    ),
    "View": _object(**_VIEW),
    "Scene": _object(
        **_SEEN, trouble=_perhaps(_TEXT), rollouts=_list(_ref("View")), processes=_WHOLE,
        behind=_WHOLE,
    ),
    "Rollout": _object(
        **_SEEN, **_VIEW, kills=_list(_ref("Kill")), releases=_list(_ref("Release"))
    ),
    "Points": {
        "type": "array", "items": _perhaps(_NUMBER),
        "description": "One per step; null where nothing was measured.",
    },
    "Chart": _object(
        rollout=_TEXT, since=_TIME, until=_TIME,
        step={"type": "number", "description": "Seconds of a step."},
        times=_list({"type": "number", "description": "End of a step."}),
        versions=_list(_object(
            version=_TEXT,
            cohort=_perhaps({"enum": [one.value for one in Cohort]}),
            **dict.fromkeys(
                ("rate", "errors", "client_errors", *QUANTILES), _ref("Points")
            ),
            observed={
                "type": "object",
                "additionalProperties": _object(
                    share=_ref("Points"), above=_ref("Points"), value=_ref("Points")
                ),
            },
        )),
        weights=_list(_object(
            since=_TIME, until=_TIME, run=_WHOLE, weight=_WEIGHT, phase={"enum": list(PHASES)}
        )),
        refused={"type": "integer", "description": "Points that cannot be read."},
    ),
    "Change": _object(**_NAMED, **_RELEASE, **_WARNED),
    "Killed": _object(
        scope=_TEXT, persisted=_FLAG, revision=_REVISION, kills=_TEXTS, known=_perhaps(_FLAG),
        hit=_list(_object(rollout=_TEXT, **_RELEASE, everybody_on=_TEXT)), **_WARNED,
    ),
    "Revived": _object(
        scope=_TEXT, revision=_WHOLE, still_killed=_TEXTS, kill_files=_TEXTS,
        rollouts=_list(_object(**_NAMED, **_RELEASE)), **_WARNED,
    ),
}  # fmt: skip
