"""``python -m tests.upstream.transparency --proxy nginx``: the cases that differ, and the score."""

from __future__ import annotations

import argparse
import time

from tests.upstream.transparency.proxies import PROXIES
from tests.upstream.transparency.suite import Report, measure
from tests.upstream.transparency.table import CASES


def show(report: Report, *, allowed: bool) -> None:
    """Print every case that does not hold, with all its differences; then the score."""
    for case in report.cases:
        verdict = report.verdicts[case.name]
        if not verdict.holds:
            print(f"{case.group:12} {case.name}")
            for line in verdict.wrong:
                print(f"    {line[:240]}")
        if allowed:
            for one in verdict.allowed:
                print(f"    ({case.name}) {one} -- {one.why}")
    for stranger in report.strangers:
        print(f"no case: {stranger[:100]!r}")
    for reason, count in report.reasons.most_common():
        print(f"{count:5} x {reason}")
    print(", ".join(f"{name} {held} of {whole}" for name, (held, whole) in groups(report).items()))
    print(f"{report.proxy}: {report.score} of {len(report.cases)} hold")


def groups(report: Report) -> dict[str, tuple[int, int]]:
    """How many cases hold, of how many, by heading."""
    found: dict[str, tuple[int, int]] = {}
    for case in report.cases:
        held, whole = found.get(case.group, (0, 0))
        found[case.group] = held + report.verdicts[case.name].holds, whole + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.upstream.transparency")
    parser.add_argument("--proxy", choices=sorted(PROXIES), action="append", required=True)
    parser.add_argument("--allowed", action="store_true", help="print allowed differences, too")
    parser.add_argument("--case", action="append", help="only cases whose name begins so")
    chosen = parser.parse_args()
    cases = [
        case
        for case in CASES
        if not chosen.case or any(case.name.startswith(start) for start in chosen.case)
    ]
    for proxy in chosen.proxy:
        began = time.monotonic()
        show(measure(proxy, cases), allowed=chosen.allowed)
        print(f"{time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
