"""Making one artifact of a build file, in a process of its own.

``python -m neuronkit.build.worker FILE NAME OUTPUT RESULT PIPE``
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronkit.artifact import CompiledModel, read_manifest
from neuronkit.build.recipe import Item, read_build_file
from neuronkit.build.report import BUILT, CACHED, CHECKED, FAILED, UNCHANGED, BuiltArtifact
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import ArtifactError
from neuronkit.targets import find_target
from neuronkit.targets.child import end_with_parent


def main(file: Path, name: str, output: Path, result: Path) -> None:
    """Make one artifact and write its line of the report; an error goes there too, and on to the log."""
    start = time.perf_counter()
    item = read_build_file(file)[name]
    try:
        made = make(item, output)
    except Exception as error:
        made = BuiltArtifact(name, item.target, FAILED, 0.0, error=f"{type(error).__name__}: {error}")
        raise
    finally:
        timed = dataclasses.replace(made, seconds=round(time.perf_counter() - start, 2))
        result.write_text(json.dumps(dataclasses.asdict(timed)), encoding="utf-8")


def make(item: Item, output: Path) -> BuiltArtifact:
    """Compile one artifact, with a cache in the output directory unless the options name another, and save it."""
    recipe, target = item.recipe, find_target(item.target)
    options = recipe.options_for(item.target)
    if options.cache_dir is None and "cache_dir" in target.honours:
        options = dataclasses.replace(options, cache_dir=output / ".cache")
    if options.workdir is not None:
        # Graphs of several artifacts have the same names.
        options = dataclasses.replace(options, workdir=options.workdir / item.name)
    made = recipe.model(**item.arguments)
    model, example_inputs = made if isinstance(made, tuple) else (made, None)
    compiled = compile_for_inferentia(
        model,
        example_inputs,
        target=item.target,
        op_whitelist=recipe.op_whitelist,
        options=options,
        processor=recipe.processor,
        progress=False,
    )
    if not target.saves:
        return BuiltArtifact(item.name, item.target, CHECKED, 0.0)
    path = output / (item.name if target.saves_directory else f"{item.name}.pt")
    state = _state(compiled, path)
    if state != UNCHANGED:
        compiled.save(path)
    return BuiltArtifact(item.name, item.target, state, 0.0, str(path), _size(path))


def _state(compiled: CompiledModel, path: Path) -> str:
    with contextlib.suppress(ArtifactError):
        if _identity(read_manifest(path)) == _identity(compiled.manifest):
            return UNCHANGED
    lookups = compiled.manifest.get("cache") or {}
    return CACHED if lookups and all(lookup["status"] == "hit" for lookup in lookups.values()) else BUILT


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest without what differs between two compiles of the same thing."""
    return {name: value for name, value in manifest.items() if name != "cache"}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    end_with_parent(int(sys.argv[5]))
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
