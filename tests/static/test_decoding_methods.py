"""A method of decoding is one class, from wherever; how graphs are joined survives as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from neuronkit import compile_for_inferentia, load, static_greedy_decoder
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import methods
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.greedy import growing_loop
from neuronkit.static.decoding.loops import end_at_eos, shift_right
from neuronkit.static.decoding.methods import Graphs, Method, Parts, register_method
from neuronkit.targets.cpu import CpuTarget

CLASSES, WIDTH = 7, 8


class Running(nn.Module):
    """Each token follows from all before it: in the logits protocol."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.embed, self.out = nn.Embedding(CLASSES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.out.weight.data.mul_(4)
        self.out.bias.data[0] += 3

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embed(tokens).cumsum(1) + memory.unsqueeze(1)))


class AllPasses(nn.Module):
    """As many passes as there are positions, in one graph."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.decoder, self.steps, self.bos_id = parts.decoder, parts.decoding.steps, parts.decoding.bos_id

    def forward(self, memory: Tensor) -> Tensor:
        tokens = torch.full((memory.shape[0], self.steps), self.bos_id, dtype=torch.int32)
        for _ in range(self.steps):
            logits = self.decoder.logits(tokens, memory)
            tokens = shift_right(logits.argmax(-1), self.bos_id)
        return logits


class Toy(Method):
    name = "all_passes"
    needs_logits = True

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        return {"passes": AllPasses(parts)}

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        return {"passes": parts.specs}

    def join(self, decoding: Decoding, graphs: Graphs) -> Any:
        return graphs["passes"]

    def calls(self, decoding: Decoding) -> int:
        return decoding.steps


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_registered", {})
    register_method(Toy())


@pytest.mark.usefixtures("toy")
def test_a_method_of_ones_own_decodes_compiles_and_loads(tmp_path: Path) -> None:
    memory = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(0))
    static = static_greedy_decoder(Running(), max_length=6, bos_id=1, eos_id=0, memory=memory, method="all_passes")
    expected = end_at_eos(growing_loop(Running(), memory, 7, 1), [0])
    assert torch.allclose(end_at_eos(static(memory), [0]), expected, atol=1e-5)
    assert len({len(row) for row in static.tokens(memory)}) > 1
    assert static.passes(memory) == 7
    compiled = compile_for_inferentia(static, target="cpu", progress=False)
    assert compiled.manifest["joining"]["method"] == "all_passes"
    loaded = load(compiled.save(tmp_path / "model.pt"))
    assert torch.allclose(end_at_eos(loaded(memory), [0]), expected, atol=1e-5)


@pytest.mark.usefixtures("toy")
def test_names_of_methods_are_checked() -> None:
    class Mine(Toy):
        name = "stepwise"

    with pytest.raises(OptionError, match="got method 'stepwise'; expected a name that neuronkit does not use"):
        register_method(Mine())
    with pytest.raises(OptionError, match=r"expected one of 'auto', .*'all_passes'"):
        static_greedy_decoder(Running(), max_length=6, bos_id=1, eos_id=0, method="all_pases")


def test_an_artifact_of_an_unknown_method_says_so(tmp_path: Path) -> None:
    from neuronkit.artifact.joined import load_graphs

    class Folders(CpuTarget):
        def load_directory(self, directory: Path) -> Any:
            return directory.name

    joining = {**Decoding("all_passes", 7, 1, 0).to_dict()}
    manifest = {"graphs": {"first": [], "second": []}, "joining": joining}
    with pytest.raises(ArtifactError, match=r"got method='all_passes'.*register the method that it was made with"):
        load_graphs(Folders(), manifest, tmp_path)
    with pytest.raises(ArtifactError, match=r"got a graph called '\.\./second'; expected a name of letters"):
        load_graphs(Folders(), {**manifest, "graphs": {"first": [], "../second": []}}, tmp_path)


@pytest.mark.parametrize("state", [None, TensorSpec("state", (14,), "float16")])
def test_how_graphs_are_joined_survives_as_json(state: TensorSpec | None) -> None:
    decoding = Decoding("stepwise", 7, 1, 0, inputs=2, takes_kind=True, refine_iters=1, stops_at_eos=False, state=state)
    assert Decoding.from_dict(json.loads(json.dumps(decoding.to_dict()))) == decoding
    assert Decoding.from_dict(json.loads(json.dumps(decoding.to_dict()))).state == state
