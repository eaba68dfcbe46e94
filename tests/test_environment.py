import json
from pathlib import Path

import pytest
import torch

import neuronkit
from neuronkit.compile import environment
from neuronkit.targets import target_names


def test_names_versions_and_every_target() -> None:
    report = neuronkit.describe_environment()
    assert report.packages["torch"] == torch.__version__
    assert set(report.targets) == set(target_names())
    assert report.targets["cpu"] is None
    assert "numpy" in report.packages


def test_says_what_is_missing_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.12.0")
    report = neuronkit.describe_environment()
    assert "needs 1.13" in report.targets["inf1"]
    assert "pip install --extra-index-url=https://pip.repos.neuron.amazonaws.com" in report.targets["inf2"]
    assert "pip install torch==2.9.0 torch-xla==2.9.0" in report.targets["xla"]


def test_shows_driver_and_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "driver_version", lambda: "2.24.7.0")
    monkeypatch.setattr(environment, "visible_devices", lambda: ["/dev/neuron0", "/dev/neuron1"])
    report = neuronkit.describe_environment()
    assert report.driver == "2.24.7.0"
    assert "driver: 2.24.7.0; devices: /dev/neuron0, /dev/neuron1" in str(report)


def test_goes_through_json_and_prints() -> None:
    report = neuronkit.describe_environment()
    fields = json.loads(json.dumps(report.to_dict()))
    assert fields["neuronkit"] == neuronkit.__version__
    text = str(report)
    assert "cpu" in text
    assert "ready" in text


@pytest.mark.xla
def test_xla_is_ready_where_it_is_installed() -> None:
    assert neuronkit.describe_environment().targets["xla"] is None
