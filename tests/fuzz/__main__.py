"""``python -m tests.fuzz --calls 50000``: wrong arguments for every public entry point, from the project's root."""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict

from .runner import Fault, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="entry points whose names contain this")
    parser.add_argument("--first", type=int, default=0, help="number of the first call, to repeat one")
    arguments = parser.parse_args()
    report = run(arguments.calls, arguments.seed, only=arguments.only, first=arguments.first)
    groups: dict[tuple[str, str, str, str], list[Fault]] = defaultdict(list)
    for fault in report.faults:
        groups[fault.kind, fault.path, fault.error.partition(":")[0], fault.where].append(fault)
    for group in sorted(groups.values(), key=lambda group: (group[0].path, group[0].where)):
        print(f"{len(group)} x {group[0]}")
    print(report)
    sys.exit(bool(report.faults))
