"""Compiling in a child process: the child's side. ``python -m neuronkit.targets.child DIRECTORY``."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(directory: Path) -> None:
    """Compile the graph in a directory, with the parent's import path."""
    fields = json.loads((directory / "job.json").read_text(encoding="utf-8"))
    sys.path[:] = fields["sys_path"]
    from neuronkit.targets import find_target
    from neuronkit.targets.job import read_job
    from neuronkit.targets.sdk_target import SdkTarget

    target = find_target(fields["target"])
    if not isinstance(target, SdkTarget):
        raise SystemExit(f"target {fields['target']!r} compiles in process")
    target.compile_in_child(read_job(directory), directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
