"""``python -m neuronkit.build FILE OUTPUT``: make the artifacts of a build file, and print the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from neuronkit.build.recipe import read_build_file
from neuronkit.build.run import build
from neuronkit.errors import NeuronKitError


def main() -> int:
    """Build, and return the exit status: 1 if anything failed, 2 if nothing could begin."""
    parser = argparse.ArgumentParser(
        prog="python -m neuronkit.build", description="Make every artifact that a build file describes."
    )
    parser.add_argument("file", help="Python file that defines recipes")
    parser.add_argument("output", nargs="?", default="artifacts", help="directory for them (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="how many to make at a time (default: %(default)s)")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="only these: 'detector-*'")
    parser.add_argument("--list", action="store_true", help="print the artifacts' names and make none")
    arguments = parser.parse_args()
    try:
        if arguments.list:
            print(*read_build_file(Path(arguments.file)), sep="\n")
            return 0
        report = build(arguments.file, arguments.output, jobs=arguments.jobs, only=arguments.only)
    except NeuronKitError as error:
        print(error, file=sys.stderr)
        return 2
    print(report)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
