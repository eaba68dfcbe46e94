"""Wrong arguments for every public entry point: a result, or an error that its docstring names."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import pytest

from neuronkit.errors import OptionError, SpecError

from . import runner
from .entries import Entry, entries, fill

CALLS = 5000
# What users do not call with values of their own, and why.
EXEMPT = {
    "neuronkit.errors.": "raised, not called",
    "neuronkit.tables.": "data",
    "neuronkit.testing.": "tests to inherit",
    "neuronkit.demo.": "calls what is called here",
    "neuronkit.static.ops.": "building blocks of graphs; they check nothing, so that graphs stay as they are",
    "neuronkit.environment.": "takes nothing",
    "neuronkit.serving.triton.": "needs a server; its own tests do",
    "neuronkit.serving.ray.": "needs a cluster; its own tests do",
    "neuronkit.serving.cores.claim_cores": "sets variables of the process, and holds locks until it ends",
    "neuronkit.adapters.registry.": "changes what make_static knows; called by tests of its own",
    "neuronkit.targets.register": "changes which targets there are; called by tests of its own",
    "neuronkit.targets.target_names": "takes nothing",
}
# Made by the library, for reading.
RESULTS = (
    *("ParityReport", "StaticModel", "OperatorReport", "Problem", "CostReport", "CostTable", "EmulatedModel"),
    *("BuildReport", "BuiltArtifact", "CacheEntry", "CoreClaim", "CoreSettings", "CompiledModel", "Family", "Truth"),
    *("EnvironmentReport", "FolderReport", "BucketPlan", "ImageWarning"),
)


def inventory() -> Any:
    path = Path(__file__).parents[2] / "tools" / "public_api.py"
    spec = importlib.util.spec_from_file_location("public_api", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_wrong_arguments_give_documented_errors() -> None:
    report = runner.run(CALLS)
    assert sum(report.calls.values()) == CALLS
    assert sum(report.refused.values()) > CALLS // 2
    assert not report.faults, "\n".join([str(report), *map(str, report.faults[:20])])


def test_every_public_entry_point_is_called(tmp_path: Path) -> None:
    fill(tmp_path)
    called = {id(inspect.unwrap(getattr(e.function, "__func__", e.function))) for e in entries(tmp_path)}
    names = {entry.path.rsplit(".", 1)[-1] for entry in entries_of(tmp_path)}
    api = inventory()
    missing = []
    for module in api.MODULES:
        for name, value in api.public_names(module).items():
            path = f"{module}.{name}"
            exempt = path.startswith(tuple(EXEMPT)) or name in RESULTS or not callable(value)
            if not exempt and id(value) not in called and name not in names:
                missing.append(path)
    assert missing == []


def entries_of(folder: Path) -> list[Entry]:
    (folder / "again").mkdir()
    fill(folder / "again")
    return entries(folder / "again")


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda value: value.missing, "foreign"),
        (lambda value: (_ for _ in ()).throw(SpecError("got x; expected y; do z")), "undocumented"),
        (lambda value: (_ for _ in ()).throw(OptionError("\x1b[31m is not printable")), "message"),
    ],
)
def test_faults_are_found(function: Any, kind: str) -> None:
    report = runner.Report()
    runner.call(Entry("toy", function, documented=toy), {"value": None}, 0, report)
    assert [fault.kind for fault in report.faults] == [kind]


def toy(value: object) -> None:
    """A toy.

    Raises:
        OptionError: Always.
    """


def test_hangs_and_growth_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(runner, "HANG_S", 0.2)
    monkeypatch.setattr(runner, "GROWTH_BYTES", 32 << 20)
    report = runner.Report()

    def hang(value: object) -> None:
        while True:
            pass

    with runner.surroundings(tmp_path):
        runner.call(Entry("hang", hang), {"value": None}, 0, report)
        runner.call(Entry("growth", lambda value: b"x" * (64 << 20)), {"value": None}, 1, report)
    assert [fault.kind for fault in report.faults] == ["hang", "growth"]
