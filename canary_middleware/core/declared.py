"""What the reports of living processes say about a rollout that somebody wants to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from canary_middleware.core.records import ProcessReport
from canary_middleware.core.state import Document, Entry, Plan
from canary_middleware.errors import VerbRefusedError

FIRST_REPORT: Final = "a WSGI worker reports after its first request"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A declared release that nobody started.

    Attributes:
        rollout: its name.
        release: its canary label.
        command: what to type.
    """

    rollout: str
    release: str
    command: str


def waiting(document: Document | None, reports: Sequence[ProcessReport]) -> Iterator[Waiting]:
    """Every such release, by name."""
    declared = {(name, plan.canary) for report in reports for name, plan in report.plans.items()}
    several = {name for name, _ in declared if sum(name == other for other, _ in declared) > 1}
    for name, release in sorted(declared):
        if document is None or document.entry(name, release) is None:
            which = f" --release {release}" if name in several else ""
            yield Waiting(name, release, f"canary start {name}{which}")


def declared_plan(
    reports: Sequence[ProcessReport], rollout: str, release: str | None = None
) -> Plan:
    """What the processes declare about a rollout; what the newest one does, where they differ.

    Raises:
        VerbRefusedError: no process declares it, or processes declare several releases and none
            was named.
    """
    reports = sorted(reports, key=lambda report: report.at)
    plans = [report.plans[rollout] for report in reports if rollout in report.plans]
    labels = sorted({plan.canary for plan in plans})
    chosen = [plan for plan in plans if release in (None, plan.canary)]
    if not chosen:
        names = sorted({name for report in reports for name in report.plans})
        known = f"declared are: {', '.join(labels or names)}" if names else "no process reports"
        message = f"no running process declares {f'release {release}' if release else 'it'}"
        start = f"start an application that declares it; {FIRST_REPORT}"
        raise _refused(rollout, message, f"{known}; {start}")
    if release is None and len(labels) > 1:
        message = f"running processes declare several releases: {', '.join(labels)}"
        hint = f"say which: `canary start {rollout} --release {labels[-1]}`"
        raise _refused(rollout, message, hint)
    return chosen[-1]


def declared_stable(
    reports: Sequence[ProcessReport], rollout: str, entry: Entry, wanted: str | None = None
) -> str:
    """The stable label that processes of a release declare beside the one in force.

    Raises:
        VerbRefusedError: there is none, or there are several and none was named.
    """
    plans = [report.plans[rollout] for report in reports if rollout in report.plans]
    labels = sorted({plan.stable for plan in plans if plan.canary == entry.release})
    new = [label for label in labels if label != entry.stable and wanted in (None, label)]
    if len(new) == 1:
        return new[0]
    if new:
        message = f"processes of {entry.release} declare several: {', '.join(labels)}"
        hint = f"say which: `canary rebase {rollout} --stable {new[-1]}`"
        raise _refused(rollout, message, hint)
    if wanted == entry.stable:
        message = f"{wanted} is its stable version already"
    else:
        what = f"{wanted} as its" if wanted else f"another than {entry.stable} as its"
        message = f"no running process of {entry.release} declares {what} stable version"
    hint = f"declared are: {', '.join(labels)}" if labels else "no process of it reports"
    raise _refused(rollout, message, hint)


def _refused(rollout: str, message: str, hint: str) -> VerbRefusedError:
    return VerbRefusedError(f"{rollout}: {message}", rollout=rollout, hint=hint)
