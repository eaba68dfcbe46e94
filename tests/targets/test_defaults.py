"""Defaults of the compiler that changed between the one that built an artifact and the installed one."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import TensorSpec, compile_for_inferentia
from neuronkit.errors import ChangedDefaultsWarning
from neuronkit.targets import native
from neuronkit.targets.sdk import defaults

WRITTEN = "--auto-cast none --native-int64=disabled --implicit-integer-downcast=all"


def flags(built, installed, monkeypatch: pytest.MonkeyPatch, command=WRITTEN):
    monkeypatch.setattr(defaults, "distribution_version", lambda name: installed)
    versions = {"neuronx-cc": built} if built is not None else {}
    return [change.flags[0] for change in defaults.changed_defaults(versions, [command])]


@pytest.mark.parametrize(
    ("built", "installed", "expected"),
    [
        ("2.26.6360.0", "2.26.9999.1", []),
        ("2.21.18209.0", "2.26.6360.0", ["--enable-mixed-precision-accumulation"]),
        ("2.26.6360.0", "2.21.18209.0", ["--enable-mixed-precision-accumulation"]),
        ("2.26.6360.0", "2.28.7631.0", ["dot(one_hot, table)"]),
        (None, "2.28.7631.0", []),
        ("2.26.6360.0", None, []),
    ],
)
def test_changes_between_two_releases(monkeypatch: pytest.MonkeyPatch, built, installed, expected) -> None:
    assert flags(built, installed, monkeypatch) == expected


def test_what_the_command_line_sets_does_not_depend_on_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    found = flags("2.21.1", "2.28.1", monkeypatch, command="")
    assert {"--auto-cast", "--native-int64", "--implicit-integer-downcast"} <= set(found)
    assert not {"--auto-cast", "--native-int64"} & set(flags("2.21.1", "2.28.1", monkeypatch))
    assert len(flags("2.21.1", "2.28.1", monkeypatch, "--disable-mixed-precision-accumulation")) == len(found) - 1


@pytest.mark.tooling
def test_load_and_describe_environment_say_so(install_double, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = torch.__version__.partition("+")[0] + ".3.0"
    monkeypatch.setattr(native, "device", lambda: torch.device("cpu"))
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    monkeypatch.setattr(torch, "__version__", torch.__version__)
    install_double("torch_neuronx", version=version, native=True)
    installed = {"neuronx-cc": "2.26.6360.0"}
    for module in ("native", "sdk.flags", "sdk.defaults"):
        monkeypatch.setattr(f"neuronkit.targets.{module}.distribution_version", installed.get)
    monkeypatch.setattr("neuronkit.artifact.loading.distribution_version", installed.get)
    compiled = compile_for_inferentia(nn.Linear(4, 3), TensorSpec("x", (2, 4)), target="trn2-native")
    path = compiled.save(tmp_path / "artifact")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        neuronkit.load(path)
    assert neuronkit.describe_environment(path).changed_defaults == ()
    installed["neuronx-cc"] = "2.28.7631.0"
    with pytest.warns(ChangedDefaultsWarning, match=r"built with neuronx-cc 2\.26.*2\.28.*a gather"):
        neuronkit.load(path)
    report = neuronkit.describe_environment(path)
    assert any("--native-int64 from disabled to enabled" in change for change in report.changed_defaults)
    assert report.changed_defaults[0] in " ".join(str(report).split())
    assert json.loads(json.dumps(report.to_dict()))["changed_defaults"] == list(report.changed_defaults)
    assert neuronkit.describe_environment().changed_defaults == ()
