"""A processor that does not belong to its model is refused at compile and at load, and the right one is found."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, StaticCRAFT, TensorSpec, compile_for_inferentia, make_static
from neuronkit.errors import ArtifactError, OptionError
from neuronkit.interface import Interface, Output
from neuronkit.models import CRAFT, PARSeq
from neuronkit.ocr import CraftProcessor, CtcProcessor, DoctrProcessor, ParseqProcessor
from neuronkit.ocr.charset import CHARSET_36
from neuronkit.ocr.processors import check_processor, processor_for

SIZES: dict[str, Any] = {
    "embed_dim": 16,
    "enc_depth": 1,
    "enc_num_heads": 2,
    "dec_num_heads": 2,
    "patch_size": (16, 32),
}
OTHER_ORDER = CHARSET_36[10:] + CHARSET_36[:10]


def parseq(charset: str = CHARSET_36) -> PARSeq:
    return PARSeq(charset, max_label_length=2, **SIZES)


def compiled(model: nn.Module, processor: Any, **arguments: Any) -> CompiledModel:
    return compile_for_inferentia(make_static(model, **arguments), target="cpu", processor=processor, verify=False)


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        (ParseqProcessor(charset=OTHER_ORDER), "the same characters in another order, the first at 0: 'a' for '0'"),
        (ParseqProcessor(), "94 characters for a model of 36"),
        (ParseqProcessor(charset=CHARSET_36.replace("q", "Q")), "other characters, 'Q' among them"),
        (ParseqProcessor(charset=36, image_size=(32, 100)), r"got image_size=\(32, 100\) .* expected \(32, 128\)"),
        (ParseqProcessor(charset=36, raw_images=True), "got raw_images=True for a model that takes images: float32"),
        (CraftProcessor(), "got a CraftProcessor for a recognizer; expected a ParseqProcessor"),
        (SimpleNamespace(to_dict=lambda: {"kind": "parseq"}), "got processor=namespace.*; expected a CraftProcessor"),
    ],
)
def test_what_does_not_belong_to_a_recognizer_is_refused(processor: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        compiled(parseq(), processor)


def test_what_does_not_belong_to_a_detector_is_refused() -> None:
    static = StaticCRAFT(CRAFT(width=1 / 64), height=32, width=64)
    for processor, message in (
        (ParseqProcessor(image_size=(32, 64)), "got a ParseqProcessor for a detector; expected a CraftProcessor"),
        (CraftProcessor(canvas=(64, 64)), r"got canvas=\(64, 64\) .*; expected \(32, 64\)"),
    ):
        with pytest.raises(OptionError, match=message):
            compile_for_inferentia(static, target="cpu", processor=processor)  # type: ignore[arg-type]


def test_a_subclass_is_refused_since_it_would_come_back_as_its_parent() -> None:
    class Mine(ParseqProcessor):
        pass

    with pytest.raises(OptionError, match="whose settings an artifact can hold"):
        compiled(parseq(), Mine(charset=36))


class Logits(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean(1)[:, :2, :11]


def test_plain_modules_are_checked_by_what_they_take_and_give() -> None:
    spec = TensorSpec("images", (1, 3, 4, 16))
    for processor in (ParseqProcessor("0123456789", (4, 16)), CtcProcessor("0123456789", (4, 16))):
        assert compile_for_inferentia(Logits(), spec, target="cpu", processor=processor).processor is processor
    for wrong, message in (
        (ParseqProcessor(36, (4, 16)), r"36 characters for a model that gives output_0: float32\[1, 2, 11\]"),
        (CraftProcessor(), r"a CraftProcessor for a model that gives output_0: .*; expected score maps"),
    ):
        with pytest.raises(OptionError, match=message):
            compile_for_inferentia(Logits(), spec, target="cpu", processor=wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"a model that takes x: float32\[1, 3\]; expected images"):
        compile_for_inferentia(nn.Linear(3, 3), TensorSpec("x", (1, 3)), target="cpu", processor=CraftProcessor())


def test_a_model_that_knows_its_characters_needs_no_processor(tmp_path: Path) -> None:
    recognizer = neuronkit.load(compiled(parseq("xyz"), None).save(tmp_path / "m.pt"))
    assert recognizer.processor == ParseqProcessor(charset="xyz")
    assert recognizer.role == "recognizer"


class System(nn.Module):
    """A training system of baudm/parseq around its network."""

    def __init__(self, **knows: Any) -> None:
        super().__init__()
        self.model = parseq("abc")
        del self.model.charset
        for name, value in knows.items():
            setattr(self, name, value)


@pytest.mark.parametrize(
    "knows",
    [
        {"tokenizer": SimpleNamespace(_itos=("[E]", "c", "b", "a", "[B]", "[P]"))},
        {"hparams": {"charset_train": "cba"}},
        {"hparams": SimpleNamespace(charset_train=["c", "b", "a"])},
        {"charset": "cba"},
    ],
)
def test_training_systems_know_their_characters(knows: dict[str, Any]) -> None:
    assert compiled(System(**knows), None, family="parseq").processor == ParseqProcessor(charset="cba")
    with pytest.raises(OptionError, match="in another order"):
        compiled(System(**knows), ParseqProcessor(charset="abc"), family="parseq")


def test_a_system_that_knows_nothing_has_no_processor() -> None:
    assert compiled(System(hparams={"charset_train": "too many"}), None, family="parseq").processor is None


def test_a_manifest_whose_processor_belongs_to_another_model_is_refused(tmp_path: Path) -> None:
    model = compiled(parseq(), None)
    model.manifest["processor"]["charset"] = OTHER_ORDER
    with pytest.raises(ArtifactError, match="the same characters in another order"):
        neuronkit.load(model.save(tmp_path / "m.pt"))


def test_exchanged_models_are_named() -> None:
    model = SimpleNamespace(interface=Interface("recognizer"), specs=())
    with pytest.raises(OptionError, match=r"got a recognizer as the detector; expected a detector; .* exchanged"):
        check_processor(CraftProcessor(), model, role="detector")
    with pytest.raises(OptionError, match="a ParseqProcessor for a detector"):
        check_processor(ParseqProcessor(), lambda images: images, role="detector")
    check_processor(CraftProcessor(), lambda images: images, role="detector")


def test_the_charset_of_a_dynamic_model_counts() -> None:
    with pytest.raises(OptionError, match="94 characters for a model of 36"):
        check_processor(ParseqProcessor(), parseq(), role="recognizer")


def test_models_that_end_words_after_their_characters_have_doctrs_processor() -> None:
    doctr = Interface("recognizer", (Output("logits"),), bos_id=4, eos_id=3, pad_id=5, characters="xyz")
    images = (TensorSpec("images", (1, 3, 32, 128)),)
    assert processor_for(doctr, images) == DoctrProcessor("xyz")
    rated = dataclasses.replace(doctr, confidence="minimum")
    assert processor_for(rated, images) == DoctrProcessor("xyz", confidence="minimum")
    assert processor_for(dataclasses.replace(doctr, eos_id=1), images) is None
    assert processor_for(doctr, images, [TensorSpec("logits", (1, 2, 99))]) is None
    with pytest.raises(OptionError, match="whose class 0 ends a word; expected one whose class 3 does"):
        check_processor(
            DoctrProcessor("xyz"), SimpleNamespace(interface=dataclasses.replace(doctr, eos_id=0), specs=images)
        )
    with pytest.raises(OptionError, match="whose class 3 ends a word; expected one whose class 0 does"):
        check_processor(ParseqProcessor("xyz"), SimpleNamespace(interface=doctr, specs=images))
    assert processor_for(dataclasses.replace(doctr, eos_id=0), images) == ParseqProcessor("xyz")


def test_a_model_that_takes_bytes_gets_bytes() -> None:
    found = processor_for(
        Interface("recognizer", (), 4, 0, 5, "xyz"), [TensorSpec("images", (1, 3, 8, 9), torch.uint8)]
    )
    assert found == ParseqProcessor("xyz", (8, 9), raw_images=True)
