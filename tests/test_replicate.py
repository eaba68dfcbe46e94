"""CompiledModel.replicate: several copies of an artifact in one process."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.errors import ArtifactError, NeuronCoreError, OptionError
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(x), x.sum(1)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return TwoOutputs().eval()


@pytest.fixture(scope="module")
def compiled(model: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    path = tmp_path_factory.mktemp("artifact") / "model.pt"
    compile_for_inferentia(model, TensorSpec("x", (4, 3)), target="cpu").save(path)
    return neuronkit.load(path)


@pytest.mark.parametrize("rows", [0, 1, 4, 7, 16, 33])
@pytest.mark.parametrize("copies", [1, 3])
def test_any_number_of_rows(model: nn.Module, compiled: CompiledModel, rows: int, copies: int) -> None:
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(rows))
    with compiled.replicate(copies) as replicas:
        outputs = replicas(x)
    assert isinstance(outputs, tuple)
    for output, expected in zip(outputs, model(x)):
        torch.testing.assert_close(output, expected.detach())
        assert not output.requires_grad


def test_many_callers(model: nn.Module, compiled: CompiledModel) -> None:
    inputs = [torch.randn(1 + i % 9, 3, generator=torch.Generator().manual_seed(i)) for i in range(200)]
    with compiled.replicate(2) as replicas, ThreadPoolExecutor(8) as callers:
        for x, (first, _) in zip(inputs, callers.map(replicas, inputs)):
            torch.testing.assert_close(first, model(x)[0].detach())


@pytest.mark.parametrize("copies", [0, -1, 1.5, "2", True, None])
def test_bad_numbers_are_refused(compiled: CompiledModel, copies: object) -> None:
    with pytest.raises(OptionError, match=r"got copies=.*expected a whole number"):
        compiled.replicate(copies)  # type: ignore[arg-type]


@pytest.mark.slow
def test_replicas_read_a_page_as_the_model_does() -> None:
    craft, parseq = load_craft(), load_parseq()
    static = neuronkit.StaticPARSeq(parseq, batch_size=4)
    recognizer = compile_for_inferentia(static, processor=ParseqProcessor(charset=parseq.charset), target="cpu")
    processor = CraftProcessor(mag_ratio=1.0)
    alone = OCRPipeline(craft, recognizer, detector_processor=processor)(IMAGE)
    with recognizer.replicate(2) as replicas:
        assert OCRPipeline(craft, replicas, detector_processor=processor)(IMAGE).text == alone.text


class DataParallel:
    """The SDKs' class: what its documentation says, without a device."""

    made: list[DataParallel]

    def __init__(self, model: torch.jit.ScriptModule, device_ids: Sequence[int] | None = None, dim: int = 0) -> None:
        assert isinstance(model, torch.jit.ScriptModule)
        assert device_ids is not None
        self.model, self.device_ids, self.dim, self.dynamic = model, device_ids, dim, True
        type(self).made.append(self)

    def disable_dynamic_batching(self) -> None:
        self.dynamic = False

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        assert not self.dynamic
        # With dynamic batching off the SDK wants exactly the compiled batch for each core.
        assert len(x) == 4 * len(self.device_ids)
        parts = [self.model(part) for part in x.chunk(len(self.device_ids))]
        return tuple(torch.cat(tensors) for tensors in zip(*parts))


@pytest.mark.parametrize(("target", "sdk"), [("inf1", "torch_neuron"), ("inf2", "torch_neuronx")])
def test_neuron_targets_use_the_sdk_and_fill_up_odd_batches(
    model: nn.Module, compiled: CompiledModel, target: str, sdk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, sdk, SimpleNamespace(DataParallel=DataParallel))
    monkeypatch.setattr(DataParallel, "made", [], raising=False)
    traced = torch.jit.trace(model, torch.zeros(4, 3))
    on_neuron = CompiledModel(traced, {**compiled.manifest, "target": target})
    with on_neuron.replicate(3) as replicas:
        for rows in (1, 5, 12, 13):
            x = torch.randn(rows, 3)
            torch.testing.assert_close(replicas(x)[0], model(x)[0].detach())
    (parallel,) = DataParallel.made
    assert (list(parallel.device_ids), parallel.dim) == ([0, 1, 2], 0)


def _taken(*_: object, **__: object) -> None:
    raise RuntimeError("NeuronCore(s) not available - Requested:4 Available:0")


def test_taken_cores_are_explained(
    compiled: CompiledModel, model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = compiled.save(tmp_path / "model.pt")
    on_neuron = CompiledModel(_taken, {**compiled.manifest, "target": "inf2"})
    monkeypatch.setitem(sys.modules, "torch_neuronx", SimpleNamespace(DataParallel=_taken))
    monkeypatch.setattr(torch.jit, "load", _taken)
    for attempt in (lambda: on_neuron(torch.zeros(4, 3)), lambda: on_neuron.replicate(2), lambda: neuronkit.load(path)):
        with pytest.raises(NeuronCoreError, match=r"claim_cores at the start of every worker"):
            attempt()


def test_a_model_of_several_cores_is_refused(compiled: CompiledModel) -> None:
    options = {**compiled.manifest["options"], "neuroncores": 4}
    wide = CompiledModel(compiled._function, {**compiled.manifest, "target": "inf1", "options": options})
    with pytest.raises(OptionError, match="spans 4 cores"):
        wide.replicate(2)


def test_replicas_pickle_by_the_path_of_their_model(compiled: CompiledModel, tmp_path: Path) -> None:
    x = torch.randn(5, 3)
    unsaved = compile_for_inferentia(TwoOutputs().eval(), TensorSpec("x", (2, 3)), target="cpu")
    with unsaved.replicate(2) as replicas, pytest.raises(ArtifactError, match=r"call save\(path\) first"):
        pickle.dumps(replicas)
    loaded = neuronkit.load(compiled.save(tmp_path / "model.pt"))
    with loaded.replicate(3) as replicas, pickle.loads(pickle.dumps(replicas)) as copied:
        assert copied.copies == 3
        assert torch.equal(copied(x)[0], replicas(x)[0])


@pytest.mark.parametrize(("target", "advice"), [("xla", "compile for 'cpu'"), ("trn2-native", "one process a core")])
def test_targets_without_replicas_say_so(compiled: CompiledModel, target: str, advice: str) -> None:
    with pytest.raises(OptionError, match=advice):
        CompiledModel(compiled._function, {**compiled.manifest, "target": target}).replicate(2)


def test_the_artifact_file_serves_replicas(compiled: CompiledModel, tmp_path: Path) -> None:
    path = compiled.save(tmp_path / "again.pt")
    with neuronkit.load(path).replicate(2) as replicas:
        assert replicas(torch.zeros(5, 3))[0].shape == (5, 4)
