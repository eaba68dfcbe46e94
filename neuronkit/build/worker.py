"""Making one artifact of a build file, in a process of its own.

``python -m neuronkit.build.worker FILE NAME OUTPUT RESULT PIPE``
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neuronkit.artifact import CompiledModel, read_manifest
from neuronkit.build.recipe import Item, read_build_file
from neuronkit.build.report import BUILT, CACHED, CHECKED, FAILED, UNCHANGED, BuiltArtifact
from neuronkit.build.run import GRACE_S, REPORT
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.storage.atomic import replacing_file
from neuronkit.storage.sealed import is_sealed_file
from neuronkit.targets import find_target
from neuronkit.targets.sdk.process import end_with_parent


def main(file: Path, name: str, output: Path, result: Path) -> None:
    """Make one artifact and write its line of the report; an error goes there too, and on to the log."""
    start = time.perf_counter()
    try:
        made = make(_item(file, name), output)
    except (Exception, SystemExit) as error:
        _write(BuiltArtifact(name, "?", FAILED, 0.0, error=f"{type(error).__name__}: {error}"), start, result)
        raise
    _write(made, start, result)


def _item(file: Path, name: str) -> Item:
    items = read_build_file(file)
    if name not in items:
        raise OptionError(f"{file}: has no {name!r} when it is read again; give recipes that are the same every time")
    return items[name]


def _write(made: BuiltArtifact, start: float, result: Path) -> None:
    timed = dataclasses.replace(made, seconds=round(time.perf_counter() - start, 2))
    with replacing_file(result) as partial:
        partial.write_text(json.dumps(dataclasses.asdict(timed)), encoding="utf-8")


def make(item: Item, output: Path) -> BuiltArtifact:
    """Compile one artifact, with a cache in the output directory unless the options name another, and save it."""
    recipe, target = item.recipe, find_target(item.target)
    options = recipe.options_for(item.target)
    if options.cache_dir is None and "cache_dir" in target.supported_options:
        options = dataclasses.replace(options, cache_dir=output / ".cache")
    if options.workdir is not None:
        # Graphs of several artifacts have the same names.
        options = dataclasses.replace(options, workdir=options.workdir / item.name)
    made = recipe.model(**item.arguments)
    if isinstance(made, tuple) and len(made) != 2:
        raise OptionError(f"recipe {recipe.name!r}: model gives {len(made)} things; give a module and example inputs")
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
    # An artifact is the same in every output directory; the build's own cache and work directories stay out.
    given = recipe.options_for(item.target).to_dict()
    compiled.manifest["options"].update({name: given[name] for name in ("cache_dir", "workdir")})
    if not target.saves:
        return BuiltArtifact(item.name, item.target, CHECKED, 0.0)
    path = output / (item.name if target.saves_directory else f"{item.name}.pt")
    state = _state(compiled, path)
    if state != UNCHANGED:
        if (output / REPORT).exists() and path.is_file() and not is_sealed_file(path):
            path.unlink()  # An earlier build's, damaged since: `save` replaces whole artifacts alone.
        compiled.save(path)
    return BuiltArtifact(item.name, item.target, state, 0.0, str(path), _size(path))


def _state(compiled: CompiledModel, path: Path) -> str:
    lookups = compiled.manifest["cache"]
    if not lookups:
        return BUILT
    with contextlib.suppress(ArtifactError):
        if _identity(read_manifest(path)) == _identity(compiled.manifest):
            return UNCHANGED
    return CACHED if all(lookup["status"] == "hit" for lookup in lookups.values()) else BUILT


def _identity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What decides whether two artifacts are the same: of the cache, the keys; not the rounding of one comparison."""
    kept = {name: value for name, value in manifest.items() if name not in ("cache", "parity")}
    return {**kept, "keys": {graph: lookup["key"] for graph, lookup in manifest["cache"].items()}}


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    # So that what is half-written is removed when the build is interrupted, or killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    end_with_parent(int(sys.argv[5]), grace_s=GRACE_S)
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
