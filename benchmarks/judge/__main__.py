"""``python -m benchmarks.judge [--full | --runs N] [--judge NAME] [--part NAME]``."""

from __future__ import annotations

import argparse
import sys

from benchmarks.judge.table import FULL, JUDGES, PARTS, USUAL, Effort, lines


def main() -> int:
    """Print every line as soon as it is known; 1 if something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judge")
    parser.add_argument("--full", action="store_true", help="at least 2,000 runs per null")
    parser.add_argument("--runs", type=int, help="per null; the other parts in proportion")
    parser.add_argument("--judge", choices=JUDGES, default="judge")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this one")
    given = parser.parse_args()
    effort = FULL if given.full else Effort.of(given.runs) if given.runs else USUAL
    broken = False
    for line in lines(effort, JUDGES[given.judge], tuple(given.part or PARTS)):
        print(line, flush=True)
        broken |= line.held is False
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
