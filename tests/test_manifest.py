"""The manifest says what an artifact is; those of format 1, committed beside this file, still load."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, StaticCRAFT, StaticModel, TensorSpec, compile_for_inferentia, make_static
from neuronkit.artifact import read_manifest
from neuronkit.errors import SpecError
from neuronkit.interface import Interface, Output, ValidArea
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, ParseqProcessor

ARTIFACTS = Path(__file__).with_name("artifacts")
PARSEQ_SIZES: dict[str, Any] = {"embed_dim": 16, "enc_depth": 1, "enc_num_heads": 2, "dec_num_heads": 2}


def test_a_detector_of_format_1_loads_and_computes_the_same() -> None:
    detector = neuronkit.load(ARTIFACTS / "format1-craft.pt")
    scores, _ = detector(detector.specs[0].example(3), torch.tensor([[32, 64]], dtype=torch.int32))
    assert scores.sum().item() == pytest.approx(1.0536465644836426, rel=1e-4)
    assert detector.role == "detector"
    assert detector.processor.to_dict() == CraftProcessor(canvas=(32, 64)).to_dict()
    # Clients of a server use the names that the artifact had.
    assert [spec.name for spec in detector.output_specs] == ["output_0", "output_1"]
    valid = [output.valid for output in detector.interface.outputs]
    assert valid == [ValidArea((1, 2), stride=2), ValidArea((2, 3), stride=2)]


def test_a_recognizer_of_format_1_loads_and_computes_the_same() -> None:
    recognizer = neuronkit.load(ARTIFACTS / "format1-recognizer.pt")
    logits = recognizer(recognizer.specs[0].example(3))
    assert logits.sum().item() == pytest.approx(16.216426849365234, rel=1e-4)
    assert recognizer.role == "recognizer"
    assert recognizer.processor == ParseqProcessor(charset=36, image_size=(4, 8))
    assert recognizer.interface == Interface("recognizer", (Output("output_0"),))


def test_what_was_of_format_1_is_saved_in_the_newest(tmp_path: Path) -> None:
    old = neuronkit.load(ARTIFACTS / "format1-craft.pt")
    new = neuronkit.load(old.save(tmp_path / "new.pt"))
    assert new.manifest == old.manifest
    assert new.manifest["format"] == 2


def test_a_directory_of_format_1_is_read() -> None:
    manifest = read_manifest(ARTIFACTS / "format1-native")
    assert (manifest["format"], manifest["role"], manifest["target"]) == (2, "other", "trn2-native")
    assert Interface.from_manifest(manifest) == Interface("other", (Output("output_0"),))


@pytest.fixture(scope="module")
def detector() -> CompiledModel:
    return compile_for_inferentia(StaticCRAFT(CRAFT(width=1 / 64), height=64, width=96), target="cpu")


def test_a_detector_names_its_outputs_and_their_sizes(detector: CompiledModel) -> None:
    assert detector.role == "detector"
    scores, features = detector.output_specs
    assert (scores.name, scores.shape, features.name) == ("score_maps", (1, 32, 48, 2), "features")
    valid = detector.interface.outputs[0].valid
    assert valid is not None
    assert [scores.shape[axis] for axis in valid.axes] == [valid.size(64), valid.size(96)]
    assert valid.input in [spec.name for spec in detector.specs]
    assert detector.manifest["source"]["class"] == "neuronkit.models.craft.CRAFT"
    assert detector.manifest["joining"] is None


def test_a_recognizer_names_its_tokens_and_characters() -> None:
    model = PARSeq("xyz", max_label_length=3, patch_size=(16, 32), **PARSEQ_SIZES)
    recognizer = compile_for_inferentia(make_static(model), target="cpu")
    expected = Interface("recognizer", (Output("logits"),), bos_id=4, eos_id=0, pad_id=5, characters="xyz")
    assert recognizer.interface == expected
    assert recognizer.manifest["tokens"] == {"bos": 4, "eos": 0, "pad": 5, "blank": None}


def test_the_weights_of_the_source_have_one_hash_in_all_forms() -> None:
    model = PARSeq("xyz", max_label_length=1, patch_size=(16, 32), **PARSEQ_SIZES)
    methods = [neuronkit.PARSeqOptions(method=method) for method in ("fixed_point", "unrolled")]
    compiled = [
        compile_for_inferentia(make_static(model, options=options), target="cpu", verify=False) for options in methods
    ]
    first, second = (c.manifest["source"] for c in compiled)
    assert first == second
    assert compiled[0].manifest["weight_hash"] != compiled[1].manifest["weight_hash"]


def test_a_plain_module_is_what_its_processor_is_for() -> None:
    model = nn.Sequential(nn.Flatten(1), nn.Linear(96, 3 * 37), nn.Unflatten(1, (3, 37)))
    spec, processor = TensorSpec("images", (2, 3, 4, 8)), ParseqProcessor(charset=36, image_size=(4, 8))
    assert compile_for_inferentia(model, spec, target="cpu").role == "other"
    assert compile_for_inferentia(model, spec, target="cpu", processor=processor).role == "recognizer"


class Misnamed(StaticModel):
    family = "misnamed"

    @property
    def interface(self) -> Interface:
        return Interface(outputs=(Output("one"), Output("two")))

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"main": source}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"main": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        return source(*inputs)


def test_every_output_is_named() -> None:
    with pytest.raises(SpecError, match=r"gives 1 tensors and its interface names 2 outputs \(one, two\)"):
        compile_for_inferentia(Misnamed(nn.Linear(4, 2), (TensorSpec("x", (1, 4)),)), target="cpu")


def test_roles_and_strides_are_checked() -> None:
    with pytest.raises(SpecError, match="got role='reader'; expected one of 'detector'"):
        Interface("reader")
    with pytest.raises(SpecError, match="got stride=0; expected a whole number of at least 1"):
        ValidArea((1, 2), stride=0)
