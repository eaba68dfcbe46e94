"""CompiledModel.replace_weights: other weights for an artifact, without compiling again."""

from pathlib import Path

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import CompileOptions, TensorSpec, compile_for_inferentia
from neuronkit.errors import OptionError, SpecError

SPEC = TensorSpec("x", (2, 4))


def network(hidden=3):
    return nn.Sequential(nn.Linear(4, hidden), nn.BatchNorm1d(hidden), nn.ReLU()).eval()


@pytest.fixture
def compiled(install_double, in_process, monkeypatch: pytest.MonkeyPatch):
    install_double("torch_neuronx")
    # What the double gives is TorchScript of no SDK.
    monkeypatch.setattr("neuronkit.artifact.loading.is_for_neuron", lambda path: True)
    options = CompileOptions(inline_weights=False)
    return compile_for_inferentia(network(), SPEC, target="inf2", options=options)


@pytest.mark.inf2
def test_the_new_weights_compute_and_are_saved(compiled, tmp_path: Path) -> None:
    new, x = network(), SPEC.example(seed=4)
    before = dict(compiled.manifest)
    assert compiled.manifest["separate_weights"]["main"]["0.weight"] == "float32[3, 4]"
    assert not torch.allclose(compiled(x), new(x))
    compiled.replace_weights(new)
    torch.testing.assert_close(compiled(x), new(x))
    assert compiled.manifest["weight_hash"] != before["weight_hash"]
    assert compiled.manifest["source"]["weight_hash"] != before["source"]["weight_hash"]
    assert compiled.manifest["parity"] == {}
    loaded = neuronkit.load(compiled.save(tmp_path / "new.pt"))
    torch.testing.assert_close(loaded(x), new(x))
    assert loaded.manifest == compiled.manifest
    other = network()
    loaded.replace_weights(other)
    torch.testing.assert_close(loaded(x), other(x))


@pytest.mark.inf2
def test_a_model_of_another_structure_is_refused(compiled) -> None:
    x = SPEC.example()
    before = compiled(x)
    with pytest.raises(SpecError, match=r"weight '0.bias' of graph 'main' is float32\[5\], and was float32\[3\]"):
        compiled.replace_weights(network(hidden=5))
    with pytest.raises(SpecError, match=r"weight '0.bias' of graph 'main' is None"):
        compiled.replace_weights(nn.ReLU())
    torch.testing.assert_close(compiled(x), before)


@pytest.mark.inf2
def test_weights_inside_the_program_cannot_be_replaced(install_double, in_process) -> None:
    install_double("torch_neuronx")
    compiled = compile_for_inferentia(network(), SPEC, target="inf2")
    with pytest.raises(OptionError, match="inline_weights=False"):
        compiled.replace_weights(network())


def test_other_targets_refuse() -> None:
    compiled = compile_for_inferentia(network(), SPEC, target="cpu")
    with pytest.raises(OptionError, match="weights are inside its program"):
        compiled.replace_weights(network())
