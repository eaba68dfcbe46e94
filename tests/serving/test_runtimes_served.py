"""Artifacts of ONNX Runtime and OpenVINO behind the pipeline and Triton's models, without Triton."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from neuronkit import CompileOptions, StaticCRAFT, StaticPARSeq, compile_for_inferentia, load
from neuronkit.demo.pages import PageStyle, render_page
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, OCRPipeline
from neuronkit.serving.triton import export_repository
from neuronkit.serving.triton.backend import Request, load_served
from tests.pictures import encode

pytestmark = pytest.mark.runtimes


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A detector for ONNX Runtime and a recogniser for OpenVINO."""
    folder, options = tmp_path_factory.mktemp("runtimes"), CompileOptions(threads=1)
    detector = compile_for_inferentia(
        StaticCRAFT(load_craft(), height=96, width=224),
        target="onnx",
        processor=CraftProcessor(mag_ratio=1.0),
        options=options,
        verify=False,
    )
    recognizer = compile_for_inferentia(
        StaticPARSeq(load_parseq(), batch_size=8), target="openvino", options=options, verify=False
    )
    return detector.save(folder / "craft"), recognizer.save(folder / "parseq")


@pytest.fixture(scope="module")
def pages() -> list[bytes]:
    files = []
    for seed in range(3):
        page = render_page(np.random.default_rng(seed), (60, 200), PageStyle(font_sizes=(20, 26)))
        files.append(encode(page.image))
    return files


def test_the_pipeline_reads_with_them_what_it_reads_on_the_plain_cpu(
    artifacts: tuple[Path, Path], pages: list[bytes], detector_path: Path, recognizer_path: Path
) -> None:
    plain, other = (
        OCRPipeline(*map(load, paths)).read_batch(pages).pages
        for paths in ((detector_path, recognizer_path), artifacts)
    )
    assert [page.text for page in plain] == [page.text for page in other]
    assert any(page.text for page in plain)
    words = [[word for line in page.lines for word in line.words] for page in plain]
    for ours, theirs in zip(words, ([word for line in page.lines for word in line.words] for page in other)):
        assert np.allclose([w.box.quad for w in ours], [w.box.quad for w in theirs], atol=1e-3)


def test_a_repository_serves_them(artifacts: tuple[Path, Path], pages: list[bytes], tmp_path: Path) -> None:
    detector, recognizer = artifacts
    versions = export_repository({"detector": detector, "recognizer": recognizer}, tmp_path / "models")
    reader = load_served(versions["reader"], max_pixels=100_000)
    images = {"image": np.array([[page] for page in pages], object)}
    (answer,) = reader.answer([Request(lambda: images, ("page",))])
    assert isinstance(answer, dict)
    local = OCRPipeline(load(detector), load(recognizer)).read_batch(pages).pages
    assert [json.loads(page) for page in np.ravel(answer["page"])] == [page.to_dict() for page in local]
