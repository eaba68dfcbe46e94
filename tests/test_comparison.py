"""compare_models: artifacts of several targets, methods and borders on the same inputs."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import neuronkit
from neuronkit import CRAFTOptions, PARSeqOptions, TensorSpec, compare_models, compile_for_inferentia, make_static
from neuronkit.demo.weights import FOLDER, load_craft, load_parseq
from neuronkit.errors import OptionError, ParityError, SpecError
from neuronkit.models import PARSeq
from neuronkit.ocr import CraftProcessor

PICTURE = Path(__file__).parents[1] / "neuronkit" / "demo" / "receipt.png"
SIZES: dict[str, Any] = {"embed_dim": 16, "enc_depth": 1, "enc_num_heads": 2, "dec_num_heads": 2}


@pytest.fixture(scope="module")
def words() -> list[Any]:
    page = Image.open(PICTURE).convert("RGB")
    return [np.asarray(page.crop(box)) for box in ((20, 20, 160, 60), (30, 60, 200, 100), (20, 100, 120, 140))]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    static = make_static(load_parseq(), batch_size=2)
    path = compile_for_inferentia(static, target="cpu", verify=False).save(tmp_path_factory.mktemp("a") / "parseq.pt")
    return Path(path)


def reader(target: str = "cpu", batch_size: int = 2, **options: Any) -> Any:
    static = make_static(load_parseq(), batch_size=batch_size, options=PARSeqOptions(**options))
    return compile_for_inferentia(static, target=target, verify=False)


def test_what_crosses_the_border_may_differ(artifact: Path, words: list[Any]) -> None:
    models = {
        "logits": artifact,
        "stepwise": reader(method="stepwise", batch_size=3),
        "bytes and tokens": reader(method="fused", outputs="tokens", raw_images=True),
        "checkpoint": FOLDER / "parseq.pt",
    }
    found = compare_models(models, words, rounds=2)
    assert [model.target for model in found.models] == ["cpu", "cpu", "cpu", "original"]
    reports = [model.parity for model in found.models[1:]]
    assert [[output.name for output in report.outputs] for report in reports if report] == [
        ["logits"],
        ["tokens", "probabilities"],
        ["logits"],
    ]
    assert all(report and report.task_agreement == 1.0 for report in reports)
    assert all(model.argmax_agreement == 1.0 for model in found.models[1:])
    assert found.to_dict()["passed"]
    assert found.models[0].time_ratio == 1.0
    assert "bytes and tokens" in str(found)


@pytest.mark.runtimes
def test_every_runtime_gives_the_same(artifact: Path, words: list[Any], tmp_path: Path) -> None:
    path = reader("onnx").save(tmp_path / "onnx")
    found = compare_models([artifact, path, reader("openvino", method="stepwise")], words)
    assert [(model.name, model.target) for model in found.models] == [
        ("parseq.pt", "cpu"),
        ("onnx", "onnx"),
        ("parseq", "openvino"),
    ]
    assert all(model.parity and model.parity.task_agreement == 1.0 for model in found.models[1:])


def test_one_that_differs_is_told_with_all_of_them(artifact: Path, words: list[Any]) -> None:
    model = load_parseq()
    model.head.weight.data.mul_(-1)
    with pytest.raises(ParityError, match=r"(?s)wrong does not agree with right.*right .*wrong .*DISAGREES") as error:
        compare_models({"right": artifact, "wrong": make_static(model)}, words)
    assert error.value.report.task_agreement == 0.0
    # Equal results do not hide outputs that differ.
    model = load_parseq()
    model.head.bias.data.add_(0.01)
    with pytest.raises(ParityError) as error:
        compare_models([artifact, make_static(model)], words)
    assert error.value.report.task_agreement == 1.0


def test_detectors_of_any_canvas_find_the_same_boxes(tmp_path: Path) -> None:
    craft = load_craft()

    def detector(height: int, width: int, **options: Any) -> Any:
        static = make_static(craft, options=CRAFTOptions(height, width, **options))
        processor = CraftProcessor(canvas=(height, width), raw_images=bool(options.get("raw_images")))
        return compile_for_inferentia(static, target="cpu", processor=processor, verify=False)

    page = Image.open(PICTURE).convert("RGB").crop((0, 0, 300, 190))
    page.save(tmp_path / "page.png")
    models = [detector(192, 320), detector(192, 320, raw_images=True, features=False), detector(192, 352)]
    found = compare_models(models, [tmp_path / "page.png"], rounds=1)
    second, third = (model.parity for model in found.models[1:])
    assert second is not None
    assert [output.name for output in second.outputs] == ["score_maps"]
    assert third is not None
    assert third.outputs == ()
    assert second.task_agreement == third.task_agreement == 1.0


def test_tensors_files_and_random_inputs(artifact: Path, tmp_path: Path) -> None:
    compiled = neuronkit.load(artifact)
    images = torch.rand(3, 3, 32, 128)
    np.save(tmp_path / "images.npy", images.numpy())
    for inputs in (None, [images], [(images,), images[:1]], [tmp_path / "images.npy"]):
        found = compare_models([compiled, reader(batch_size=4)], inputs, rounds=1)
        assert found.passed
        assert found.num_inputs == (3 if inputs is None else len(inputs))
    # A detector's valid size is the whole canvas where it is not given.
    craft = compile_for_inferentia(make_static(load_craft(), options=CRAFTOptions(64, 96)), target="cpu", verify=False)
    assert compare_models([craft, craft], [torch.randn(1, 3, 64, 96)], rounds=1).passed


def test_models_of_another_origin_are_refused(artifact: Path) -> None:
    """On an empty picture both find nothing, which is no agreement."""
    blank = [np.full((32, 64, 3), 255, np.uint8)]
    static = make_static(load_craft(), options=CRAFTOptions(64, 64))
    detector = compile_for_inferentia(static, target="cpu", processor=CraftProcessor(canvas=(64, 64)), verify=False)
    with pytest.raises(SpecError, match=r"with role='detector' to compare with .* of role='recognizer'"):
        compare_models([artifact, detector], blank)
    characters = load_parseq().charset.characters
    other = make_static(PARSeq(characters[::-1], **SIZES).eval(), batch_size=2)
    with pytest.raises(SpecError, match=r"with characters='.*to compare with"):
        compare_models([artifact, compile_for_inferentia(other, target="cpu", verify=False)], blank)


def test_arrays_are_read_as_far_as_they_go(artifact: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "page.npy").write_text("<html>")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"
    (tmp_path / "huge.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + header.ljust(117).encode() + b"\n"
    )
    for name in ("pipe", "page", "objects", "huge", "gone"):
        with pytest.raises(SpecError, match=rf"{name}\.npy'"):
            compare_models([artifact, artifact], [tmp_path / f"{name}.npy"])


def test_what_cannot_be_compared_is_refused(artifact: Path, words: list[Any]) -> None:
    with pytest.raises(SpecError, match="got 1 models; expected two"):
        compare_models([artifact], words)
    with pytest.raises(SpecError, match=r"gone\.npy.*cannot be read"):
        compare_models([artifact, artifact], ["gone.npy"])
    with pytest.raises(SpecError, match=r"images"):
        compare_models([artifact, artifact], [torch.zeros(3)])
    with pytest.raises(SpecError, match="got no inputs"):
        compare_models([artifact, artifact], [])
    with pytest.raises(OptionError, match="rounds=0"):
        compare_models([artifact, artifact], words, rounds=0)
    with pytest.raises(SpecError, match="expected an artifact's or checkpoint's path"):
        compare_models([artifact, torch.sin], words)  # type: ignore[list-item]
    plain = compile_for_inferentia(torch.nn.Linear(4, 3), TensorSpec("x", (2, 4)), target="cpu")
    with pytest.raises(SpecError, match="has no processor"):
        compare_models([plain, plain], words)
    other = compile_for_inferentia(torch.nn.Linear(4, 5), TensorSpec("x", (2, 4)), target="cpu")
    with pytest.raises(SpecError, match="expected an output in common, of the same size"):
        compare_models([plain, other])
    torch.manual_seed(0)
    small = PARSeq(36, max_label_length=5, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=4)
    with pytest.raises(ParityError):
        compare_models([artifact, make_static(small)], words)
