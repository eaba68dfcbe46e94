"""What a served model answers, without Triton: each request its own result, or its own error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from neuronkit import (
    FixedShape,
    LineOptions,
    TensorSpec,
    compile_for_inferentia,
    load,
    make_static,
    static_greedy_decoder,
)
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.errors import ImageError, SpecError
from neuronkit.ocr import OCRPipeline
from neuronkit.serving.triton import export_repository
from neuronkit.serving.triton.backend import Request, Served, load_served
from tests.adapters import line_models
from tests.pictures import encode
from tests.static.running import Counter

ALL = ("images", "valid_size", "output_0", "score_maps", "features", "logits", "text", "confidence", "page")
MAX_PIXELS = 100_000


def asked(inputs: Mapping[str, NDArray[Any]], *outputs: str) -> Request:
    return Request(lambda: inputs, outputs or ALL)


def files(*contents: bytes) -> dict[str, NDArray[Any]]:
    return {"image": np.array([[content] for content in contents], object)}


def line(seed: int, height: int = 60, width: int = 200) -> bytes:
    """A page of a line or two."""
    return encode(render_page(np.random.default_rng(seed), (height, width), PageStyle(font_sizes=(20, 26))).image)


@pytest.fixture(scope="module")
def versions(detector_path: Path, recognizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    artifacts = {"detector": detector_path, "recognizer": recognizer_path}
    return export_repository(artifacts, tmp_path_factory.mktemp("backend") / "models")


@pytest.fixture
def detector(versions: dict[str, Path]) -> Served:
    return load_served(versions["detector"], max_pixels=MAX_PIXELS)


@pytest.fixture
def recognizer(versions: dict[str, Path]) -> Served:
    return load_served(versions["recognizer"], max_pixels=MAX_PIXELS)


@pytest.fixture
def reader(versions: dict[str, Path]) -> Served:
    return load_served(versions["reader"], max_pixels=MAX_PIXELS)


def test_images_of_several_sizes_give_what_the_local_call_gives(detector: Served, detector_path: Path) -> None:
    local = FixedShape(load(detector_path), output_sizes=0.5)
    rng = np.random.default_rng(0)
    sizes = [(96, 224), (32, 64), (64, 32), (96, 224)]
    images = [rng.standard_normal((1, 3, *size)).astype(np.float32) for size in sizes]
    requests = [asked({"images": image}) for image in images]
    requests.append(asked({"images": images[0], "valid_size": np.array([[64, 96]], np.int32)}))
    answers = detector.answer(requests)
    expected = [local(torch.from_numpy(image)) for image in images]
    expected.append(local(torch.from_numpy(images[0]), torch.tensor([[64, 96]], dtype=torch.int32)))
    for answer, outputs in zip(answers, expected, strict=True):
        assert not isinstance(answer, Exception)
        for name, output in zip(("score_maps", "features"), outputs, strict=True):
            np.testing.assert_allclose(answer[name], output.numpy(), atol=1e-5)


def test_only_what_is_asked_for_is_given(detector: Served, recognizer: Served) -> None:
    images = np.zeros((1, 3, 32, 32), np.float32)
    (answer,) = detector.answer([asked({"images": images}, "score_maps")])
    assert not isinstance(answer, Exception)
    assert {name: array.shape for name, array in answer.items()} == {"score_maps": (1, 16, 16, 2)}
    (answer,) = recognizer.answer([asked(files(line(0)), "text")])
    assert not isinstance(answer, Exception)
    assert set(answer) == {"text"}


def test_words_as_files_and_as_tensors(recognizer: Served, recognizer_path: Path) -> None:
    local = load(recognizer_path)
    crops = [line(seed, 30 + seed, 60 + 9 * seed) for seed in range(11)]
    inputs = local.processor.preprocess(crops)
    logits = FixedShape(local)(torch.from_numpy(inputs))
    expected = local.processor.postprocess(logits)
    # Two rows in the first request, and one in each of the others, in another order than they are computed in.
    requests = [asked(files(crops[9], crops[10])), *(asked(files(crop)) for crop in crops[:9])]
    answers = [*recognizer.answer(requests), *recognizer.answer([asked({"images": inputs})])]
    assert not any(isinstance(answer, Exception) for answer in answers)
    rows = [[9, 10], *([index] for index in range(9)), list(range(11))]
    for answer, indices in zip(answers, rows, strict=True):
        assert not isinstance(answer, Exception)
        assert [text.decode() for (text,) in answer["text"]] == [expected[index].text for index in indices]
        np.testing.assert_allclose(answer["confidence"][:, 0], [expected[i].confidence for i in indices], atol=1e-5)
        np.testing.assert_allclose(answer["logits"], logits[indices].numpy(), atol=1e-4)


@pytest.fixture(scope="module", params=[False, True], ids=["floats", "bytes and tokens"])
def lines_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line recogniser, three lines of up to 160 pixels at a time."""
    options = LineOptions(width=160, raw_images=request.param, outputs="tokens" if request.param else "logits")
    static = make_static(line_models.benchmark("VGG", "CTC"), batch_size=3, options=options)
    compiled = compile_for_inferentia(static, target="cpu", verify=False)
    return compiled.save(tmp_path_factory.mktemp("lines") / "lines.pt")


def test_lines_as_files_and_as_tensors_of_their_own_widths(lines_path: Path, tmp_path: Path) -> None:
    local = load(lines_path)
    rng = np.random.default_rng(0)
    crops = [encode(rng.integers(0, 256, (30, 40 + 19 * i, 3), np.uint8)) for i in range(5)]
    rows = [torch.from_numpy(image[None]) for image in local.processor.lines(crops)]
    expected = local.processor.postprocess(
        FixedShape(local)(
            *map(torch.from_numpy, (local.processor.preprocess(crops), local.processor.valid_widths(crops)))
        )
    )
    assert len({word.text for word in expected}) > 1
    served = load_served(export_repository(lines_path, tmp_path / "models")["recognizer"], max_pixels=MAX_PIXELS)
    requests = [asked(files(*crops[:2])), asked(files(*crops[2:])), *(asked({"images": row.numpy()}) for row in rows)]
    requests.append(asked({"images": np.zeros((1, 1, 32, 5), rows[0].numpy().dtype)}))
    *answers, narrow = served.answer(requests)
    assert isinstance(narrow, SpecError)
    for answer, wanted in zip(answers, [expected[:2], expected[2:], *([one] for one in expected)], strict=True):
        assert not isinstance(answer, Exception)
        assert [text.decode() for (text,) in answer["text"]] == [word.text for word in wanted]
        np.testing.assert_allclose(answer["confidence"][:, 0], [word.confidence for word in wanted], rtol=1e-3)


def test_lines_of_any_width_are_read_by_a_decoder_with_attention(tmp_path: Path) -> None:
    """Its outputs have one size, whatever the width, and the artifact has no processor."""
    options = LineOptions(width=100, outputs="tokens")
    static = make_static(line_models.benchmark("VGG", "Attn"), batch_size=2, options=options)
    path = compile_for_inferentia(static, target="cpu", verify=False).save(tmp_path / "lines.pt")
    folder = export_repository({"lines": path}, tmp_path / "models")["lines"]
    config = (folder.parent / "config.pbtxt").read_text()
    assert 'name: "images" data_type: TYPE_FP32 dims: [ 1, 32, -1 ]' in config
    assert 'name: "valid_width" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } optional: true' in config
    rng, names = np.random.default_rng(0), ("tokens", "probabilities")
    rows = [rng.standard_normal((1, 1, 32, width)).astype(np.float32) for width in (60, 100, 73)]
    answers = load_served(folder, max_pixels=MAX_PIXELS).answer([asked({"images": row}, *names) for row in rows])
    for answer, row in zip(answers, rows, strict=True):
        assert not isinstance(answer, Exception)
        for name, wanted in zip(names, FixedShape(load(path))(torch.from_numpy(row)), strict=True):
            np.testing.assert_allclose(answer[name], wanted.numpy(), rtol=1e-5)


def test_pages_are_read_with_lines(detector_path: Path, lines_path: Path, tmp_path: Path) -> None:
    versions = export_repository([detector_path, lines_path], tmp_path / "models")
    pages = [line(seed) for seed in range(3)]
    (answer,) = load_served(versions["reader"], max_pixels=MAX_PIXELS).answer([asked(files(*pages))])
    assert not isinstance(answer, Exception)
    found = [json.loads(page) for (page,) in answer["page"]]
    assert found == [
        page.to_dict() for page in OCRPipeline(load(detector_path), load(lines_path)).read_batch(pages).pages
    ]
    assert any(page["lines"] for page in found)


def test_pages_are_those_of_the_pipeline(reader: Served, detector_path: Path, recognizer_path: Path) -> None:
    local = OCRPipeline(load(detector_path), load(recognizer_path))
    pages = [line(seed) for seed in range(4)]
    answers = reader.answer([asked(files(pages[0])), asked(files(*pages[1:]))])
    assert not any(isinstance(answer, Exception) for answer in answers)
    found = [json.loads(page) for answer in answers for (page,) in answer["page"]]  # type: ignore[index]
    assert found == [page.to_dict() for page in local.read_batch(pages).pages]
    assert any(page["lines"] for page in found)


BROKEN = {
    "nothing": (files(b""), ImageError),
    "no image": (files(b"no image"), ImageError),
    "cut": (files(line(0)[:200]), ImageError),
    "one of two": (files(line(0), b"no image"), ImageError),
    "too large": (files(encode(np.zeros((400, 400, 3), np.uint8))), ImageError),
    "no row": ({"image": np.empty((0, 1), object)}, SpecError),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("model", ["recognizer", "reader"])
def test_a_broken_image_spoils_no_other_request(model: str, case: str, request: pytest.FixtureRequest) -> None:
    served: Served = request.getfixturevalue(model)
    inputs, kind = BROKEN[case]
    good, bad = asked(files(line(1))), asked(inputs)
    (alone,) = served.answer([good])
    answers = served.answer([good, bad, good])
    assert isinstance(answers[1], kind)
    assert not isinstance(alone, Exception)
    for answer in answers[::2]:
        assert not isinstance(answer, Exception)
        assert {name: array.tolist() for name, array in answer.items()} == {n: a.tolist() for n, a in alone.items()}


def image(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"images": image(1, 3, 200, 32)}, "at most"),
        ({"images": image(1, 3, 32)}, "4 dimensions"),
        ({"images": image(1, 4, 32, 32)}, "channels"),
        ({"images": image(1, 3, 32, 32).astype(np.float64)}, "float32"),
        ({}, "lacks"),
        ({"images": image(1, 3, 32, 32), "valid_size": np.array([[0, 5]], np.int32)}, "valid_size"),
        ({"images": image(1, 3, 32, 32), "valid_size": np.array([[33, 5]], np.int32)}, "valid_size"),
        ({"images": image(2, 3, 32, 32), "valid_size": np.array([[32, 5]], np.int32)}, "(2, 2)"),
        ({"images": image(1, 3, 32, 32), "valid_size": np.array([[32]], np.int32)}, "valid_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_tensor_spoils_no_other_request(
    inputs: dict[str, NDArray[Any]], message: str, detector: Served
) -> None:
    good = asked({"images": image(1, 3, 32, 32)})
    first, wrong, last = detector.answer([good, asked(inputs), good])
    assert isinstance(wrong, SpecError)
    assert message in str(wrong)
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)


def test_a_recogniser_wants_one_of_its_inputs(recognizer: Served) -> None:
    words = {"images": image(1, 3, 32, 128)}
    for inputs in ({}, {**words, **files(line(0))}):
        (answer,) = recognizer.answer([asked(inputs)])
        assert isinstance(answer, SpecError)
        assert "either 'images' or 'image'" in str(answer)


def test_logits_that_are_no_numbers_are_an_error_of_their_request(recognizer: Served) -> None:
    bad = {"images": np.full((1, 3, 32, 128), np.nan, np.float32)}
    good, wrong = recognizer.answer([asked(files(line(1))), asked(bad)])
    assert isinstance(wrong, SpecError)
    assert not isinstance(good, Exception)


def test_a_request_that_cannot_be_read_is_alone_in_that(recognizer: Served) -> None:
    def read() -> dict[str, NDArray[Any]]:
        raise ValueError("cut off")

    wrong, good = recognizer.answer([Request(read, ALL), asked(files(line(1)))])
    assert isinstance(wrong, ValueError)
    assert not isinstance(good, Exception)


class Picky(nn.Module):
    """Fails as a whole where any row has a very low sum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        picked = torch.arange(1, dtype=torch.int32) + (x.sum(1).amin() < -100).to(torch.int32) * 5
        return x * torch.index_select(torch.ones(1), 0, picked)


def test_where_a_batch_fails_the_request_at_fault_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    compiled = compile_for_inferentia(Picky(), TensorSpec("x", (4, 3)), target="cpu", verify=False)
    home = export_repository({"m": compiled}, tmp_path / "models")["m"]
    served = load_served(home, max_pixels=1)
    values = [np.full((1, 3), value, np.float32) for value in (1, -99, 2)]
    first, wrong, last = served.answer([asked({"x": value}) for value in values])
    assert isinstance(wrong, SpecError)
    assert "not in its table" in str(wrong)
    assert [answer["output_0"].tolist() for answer in (first, last)] == [[[1] * 3], [[2] * 3]]  # type: ignore[index]
    assert "each is run alone" in caplog.text


def test_bfloat16_travels_as_float32(tmp_path: Path) -> None:
    compiled = compile_for_inferentia(nn.Sequential(nn.Identity()), TensorSpec("x", (2, 3), "bfloat16"), target="cpu")
    served = load_served(export_repository({"m": compiled}, tmp_path / "models")["m"], max_pixels=1)
    served.warm_up()
    (answer,) = served.answer([asked({"x": np.array([[1, 2.5, 1.001]], np.float32)})])
    assert not isinstance(answer, Exception)
    assert answer["output_0"].dtype == np.float32
    assert answer["output_0"].tolist() == [[1, 2.5, 1]]


def test_what_is_counted(recognizer: Served, detector: Served) -> None:
    for served in (recognizer, detector):
        served.warm_up()
        assert not any(served.models["model"].take().values())
    # The first time that a batch is filled up it is computed twice; warming up has done that.
    recognizer.answer([asked(files(line(seed))) for seed in range(3)])
    counted = recognizer.models["model"].take()
    assert counted.pop("seconds") > 0
    assert counted == {"rows": 3, "batch_rows": 8, "valid_pixels": 0, "canvas_pixels": 0}
    detector.answer([asked({"images": image(1, 3, 32, 64)}), asked({"images": image(1, 3, 96, 224)})])
    counted = detector.models["model"].take()
    assert counted.pop("seconds") > 0
    pixels = {"valid_pixels": 32 * 64 + 96 * 224, "canvas_pixels": 2 * 96 * 224}
    assert counted == {"rows": 2, "batch_rows": 2, **pixels}


def test_a_reader_counts_pages_and_words(reader: Served) -> None:
    reader.warm_up()
    (answer,) = reader.answer([asked(files(line(1), line(2)))])
    assert not isinstance(answer, Exception)
    words = sum(len(found["words"]) for (page,) in answer["page"] for found in json.loads(page)["lines"])
    assert reader.models["detector"].take()["rows"] == 2
    assert reader.models["recognizer"].take()["rows"] == words > 0


@pytest.fixture
def counter(tmp_path: Path) -> Served:
    """Served four rows at a time, of which a row of `n` tokens takes one call for each five positions."""
    decoder = static_greedy_decoder(
        Counter(), max_length=20, bos_id=4, eos_id=0, memory=torch.zeros(4, 1), method="fused"
    )
    path = compile_for_inferentia(decoder, target="cpu").save(tmp_path / "counter.pt")
    return load_served(export_repository({"counter": path}, tmp_path / "models")["counter"], max_pixels=MAX_PIXELS)


def serve(served: Served, batches: list[list[Request]]) -> dict[int, Any]:
    """Answers by the requests' sources, where batch after batch is there at once."""
    left, answers = list(batches), {}

    def take(wait: bool) -> list[Request] | None:
        if left:
            return left.pop(0)
        return None if wait else []

    def reply(requests: Sequence[Request], given: Sequence[Any]) -> None:
        answers.update({request.source: answer for request, answer in zip(requests, given, strict=True)})

    served.serve(take, reply)
    return answers


def counted(length: float, source: int) -> Request:
    memory = np.full((1, 1), length, np.float32)
    return Request(lambda: {"memory": memory}, ("logits",), source)


def test_rows_that_have_not_settled_ride_with_the_next_requests(counter: Served) -> None:
    lengths = [2, 17, 3, 1, 4, 9, 2, 3, 19, 1, 2, 8, 3, 2, 1, 2]
    requests = [counted(length, i) for i, length in enumerate(lengths)]
    answers = serve(counter, [requests[i : i + 4] for i in range(0, 16, 4)])
    for i, length in enumerate(lengths):
        ids = answers[i]["logits"][0].argmax(-1).tolist()
        assert ids.index(0) == length
        np.testing.assert_array_equal(counter.answer([requests[i]])[0]["logits"], answers[i]["logits"])
    counter.models["model"].take()
    serve(counter, [requests[i : i + 4] for i in range(0, 16, 4)])
    flowing = counter.models["model"].take()
    for i in range(0, 16, 4):
        counter.answer(requests[i : i + 4])
    alone = counter.models["model"].take()
    assert flowing["rows"] == alone["rows"] == 16
    assert flowing["batch_rows"] < 0.7 * alone["batch_rows"]


def test_requests_at_fault_are_found_among_those_under_way(counter: Served, caplog: pytest.LogCaptureFixture) -> None:
    wrong = Request(lambda: {"memory": np.zeros((1, 2), np.float32)}, ("logits",), 7)
    answers = serve(counter, [[counted(12, 0), wrong, counted(3, 1)], [counted(2, 2)]])
    assert isinstance(answers[7], SpecError)
    assert [answers[i]["logits"][0].argmax(-1).tolist().index(0) for i in range(3)] == [12, 3, 2]
    model, calls = counter.models["model"], []
    step = model.step

    def failing(*inputs: torch.Tensor) -> Any:
        calls.append(len(inputs))
        if len(calls) == 2:
            raise RuntimeError("the device is gone for a moment")
        return step(*inputs)

    model.step = failing  # type: ignore[method-assign]
    answers = serve(counter, [[counted(12, 0), counted(3, 1)], [counted(2, 2)]])
    assert [answers[i]["logits"][0].argmax(-1).tolist().index(0) for i in range(3)] == [12, 3, 2]
    assert "run alone" in caplog.text
