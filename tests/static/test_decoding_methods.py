"""Names of methods of decoding; how graphs are joined survives as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from neuronkit import static_greedy_decoder
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import register_method
from neuronkit.targets.cpu import CpuTarget
from tests.static.running import Running
from tests.toys.method import ToyMethod


@pytest.mark.usefixtures("registries")
def test_names_of_methods_are_checked() -> None:
    class Mine(ToyMethod):
        name = "stepwise"

    with pytest.raises(OptionError, match="got method 'stepwise'; expected a name that neuronkit does not use"):
        register_method(Mine())
    register_method(ToyMethod())
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
