"""Wrong arguments for every public entry point: a result, or an error that its docstring names."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuronkit.errors import OptionError, SpecError
from tools import public_api

from . import runner
from .entries import Entry, entries, fill

# Many where most tests run; fewer on the other framework sets, whose torch raises errors of its own.
CALLS = (500, pytest.param(5000, marks=pytest.mark.tooling))
# What users do not call with values of their own, and why.
EXEMPT = {
    "neuronkit.errors.": "raised, not called",
    "neuronkit.tables.": "data",
    "neuronkit.testing.": "tests to inherit",
    "neuronkit.demo.": "calls what is called here",
    "neuronkit.static.ops.": "building blocks of graphs; they check nothing, so that graphs stay as they are",
    "neuronkit.compile.environment.": "takes nothing",
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

# Whose methods, but those with an entry, adapters define and the library calls.
OVERRIDDEN = ("StaticModel", "StaticCRAFT", "StaticPARSeq")


@pytest.mark.slow
@pytest.mark.parametrize("calls", CALLS)
def test_wrong_arguments_give_documented_errors(calls: int) -> None:
    report = runner.run(calls)
    assert sum(report.calls.values()) == calls
    assert sum(report.refused.values()) > calls // 2
    assert not report.faults, "\n".join([str(report), *map(str, report.faults[:20])])


def test_every_argument_of_every_public_entry_point_is_given_wrong_values(tmp_path: Path) -> None:
    fill(tmp_path)
    given: dict[Any, set[str]] = defaultdict(set)
    for entry in entries(tmp_path):
        given[plain(entry.documented or entry.function)].update(entry.arguments)
    missing = []
    for path, function in entry_points():
        kinds = inspect.signature(function).parameters.values()
        named = {p.name for p in kinds if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {"self", "cls"}
        found = given.get(plain(function), set())
        if plain(function) not in given or not ("*" in found or named <= found):
            missing.append(f"{path}: {', '.join(sorted(named - found))}")
    assert missing == []


def plain(function: Any) -> Any:
    return inspect.unwrap(getattr(function, "__func__", function))


def entry_points() -> Iterator[tuple[str, Any]]:
    """Public functions, classes that users make, and methods that take something."""
    public = {
        f"{module}.{name}": value
        for module in public_api.MODULES
        for name, value in public_api.public_names(module).items()
    }
    for path, value in public.items():
        name = path.rsplit(".", 1)[-1]
        if path.startswith(tuple(EXEMPT)) or not callable(value):
            continue
        if name not in RESULTS:
            yield path, value
        if inspect.isclass(value) and name not in OVERRIDDEN:
            for method, member in public_api.members(value, public.values()).items():
                function = plain(member)
                if inspect.isfunction(function) and len(inspect.signature(function).parameters) > 1:
                    yield f"{path}.{method}", function


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
