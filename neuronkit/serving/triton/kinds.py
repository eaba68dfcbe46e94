"""The kinds of models that are served: tensors, recognisers, readers of pages."""

from __future__ import annotations

import base64
import io
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuronkit.errors import ArtifactError, OptionError, SpecError
from neuronkit.interface import DETECTOR, RECOGNIZER
from neuronkit.ocr.images import load_image
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.ocr.pipeline.calls import ModelCall, readable
from neuronkit.ocr.pipeline.fitting import fit_recognizer
from neuronkit.ocr.pipeline.recognizing import recognizer_inputs
from neuronkit.ocr.writers import page_text
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.triton.base import Arrays, Flow, Reply, Request, Served, Take, attempt
from neuronkit.serving.triton.config import Port, Signature, file_port, tensor_signature
from neuronkit.serving.triton.metering import Metered
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.checks import check_valid_size
from neuronkit.static.shapes.fixed import VALID_SIZE, FixedShape
from neuronkit.static.shapes.rows import RowStream
from neuronkit.static.trees import leaves

MODEL = "model"
"""Name of an artifact that is served alone."""
IMAGE, PAGE, TEXT, HOCR, CONFIDENCE = "image", "page", "text", "hocr", "confidence"
# Requests of one row each whose last rows go on.
_MOST_HELD = 1 << 16

_log = logging.getLogger(__name__)


class TensorModel(Served):
    """Tensors in, tensors out: a detector, or any other artifact."""

    def __init__(self, models: Mapping[str, Metered], max_pixels: int) -> None:
        super().__init__(models, max_pixels)
        self._model = models[MODEL]
        self._fixed = FixedShape(self._model)
        self._outputs = [spec.name for spec in self._model.output_specs]

    @classmethod
    def fits(cls, artifacts: Mapping[str, ServedArtifact]) -> bool:
        """Any artifact alone."""
        return list(artifacts) == [MODEL]

    @classmethod
    def signature(cls, artifacts: Mapping[str, ServedArtifact]) -> Signature:
        """The graph's tensors."""
        return tensor_signature(artifacts[MODEL])

    def serve(self, take: Take, reply: Reply) -> None:
        """As that of any model; rows that have not settled ride in the batch of the requests that come next."""
        if self._model.carry is None:
            return super().serve(take, reply)
        flow = Flow(take, reply, self._lay)
        rows = RowStream(self._model.step, self._fixed.batch_size, self._model.carry)
        while not flow.ended:
            try:
                for index, outputs in rows.finished(flow.groups(), _MOST_HELD):
                    request, size = flow.held.pop(index)
                    self._model.counts.rows += len(leaves(outputs)[0])
                    result = leaves(self._fixed.cut(outputs, size))
                    flow.done(request, attempt(self._finish, result, request.outputs))
            except Exception:
                _log.exception("a batch failed; its requests are run alone")
                for request, _ in flow.held.values():
                    flow.done(request, *self.answer([request]))
                flow.held.clear()
            flow.flush()
        return None

    def _lay(self, request: Request) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        rows, size = self._fixed.lay(self._read(request))
        if not len(rows[0]):
            raise SpecError("the request has no row; give at least one")
        return rows, size

    def _prepare(self, inputs: Arrays) -> tuple[Tensor, ...]:
        wanted = [spec for spec in self._fixed.specs if spec.name in inputs or spec.name != self._fixed.valid_size]
        missing = [spec.name for spec in wanted if spec.name not in inputs]
        if missing:
            raise SpecError(f"the request lacks {missing}; it has {sorted(inputs)}")
        tensors = tuple(_to_tensor(inputs[spec.name], spec) for spec in wanted)
        for spec, tensor in zip(wanted, tensors):
            if spec.name == VALID_SIZE:
                check_valid_size(VALID_SIZE, tensor, inputs[wanted[0].name].shape[-2:])
        return tensors

    def _run(self, items: list[Any]) -> list[Any]:
        outputs = [leaves(output) for output in self._fixed.run(items)]
        self._model.counts.rows += sum(len(item[0]) for item in items)
        return outputs

    def _finish(self, result: Sequence[Tensor], outputs: Collection[str]) -> Arrays:
        return {name: _to_array(tensor) for name, tensor in zip(self._outputs, result) if name in outputs}

    def _example(self) -> Request:
        example = {spec.name: _to_array(spec.example()[:1]) for spec in self._fixed.data_specs}
        return Request(lambda: example, self._outputs)


class Recognizer(TensorModel):
    """Words or lines in, as tensors or as image files; text and confidence out, and logits on request."""

    def __init__(self, models: Mapping[str, Metered], max_pixels: int) -> None:
        super().__init__(models, max_pixels)
        self._call = ModelCall(self._model, "recognizer", 1)
        self._processor = fit_recognizer(None, self._call)
        self._outputs += [TEXT, CONFIDENCE]

    @classmethod
    def fits(cls, artifacts: Mapping[str, ServedArtifact]) -> bool:
        """A recogniser of words or lines, with its processor."""
        return super().fits(artifacts) and artifacts[MODEL].role == RECOGNIZER

    @classmethod
    def signature(cls, artifacts: Mapping[str, ServedArtifact]) -> Signature:
        """The graph's tensors, a file in place of them, and what is read."""
        tensors = super().signature(artifacts)
        if tensors.inputs[0].name == IMAGE:
            raise ArtifactError(
                f"got an input called {IMAGE!r}, which is the name of that for image files; expected another; compile "
                "it with another name, such as 'images'"
            )
        return Signature(
            (*(replace(port, optional=True) for port in tensors.inputs), file_port(IMAGE, optional=True)),
            (*tensors.outputs, file_port(TEXT), Port(CONFIDENCE, "TYPE_FP32", (1,))),
            tensors.batch_size,
        )

    def _prepare(self, inputs: Arrays) -> tuple[Tensor, ...]:
        specs = self._fixed.specs
        if (IMAGE in inputs and len(inputs) > 1) or not inputs:
            raise SpecError(f"the request has {sorted(inputs)}; give either {specs[0].name!r} or {IMAGE!r}")
        if IMAGE not in inputs:
            return super()._prepare(inputs)
        crops = [load_image(file, max_pixels=self._max_pixels) for file in _files(inputs[IMAGE])]
        arrays = recognizer_inputs(self._call, self._processor, crops)
        return tuple(torch.from_numpy(array).to(spec.torch_dtype) for array, spec in zip(arrays, specs, strict=True))

    def _finish(self, result: Sequence[Tensor], outputs: Collection[str]) -> Arrays:
        answer = dict(super()._finish(result, outputs))
        if TEXT in outputs or CONFIDENCE in outputs:
            words = self._processor.postprocess(readable(result))
            answer[TEXT] = _strings([word.text for word in words])
            answer[CONFIDENCE] = np.array([[word.confidence] for word in words], np.float32)
        return {name: array for name, array in answer.items() if name in outputs}

    def _example(self) -> Request:
        return Request(lambda: {IMAGE: _blank_image()}, self._outputs)


_FORMS: dict[str, Callable[[Page], str]] = {
    TEXT: lambda page: page.text,
    HOCR: lambda page: "".join(page_text([page], "hocr")),
    PAGE: Page.to_json,
}
"""What a page is given as, by the names of the outputs."""


class Reader(Served):
    """Image files in, pages out: as JSON, text and hOCR."""

    def __init__(self, models: Mapping[str, Metered], max_pixels: int) -> None:
        super().__init__(models, max_pixels)
        self._pipeline = OCRPipeline(models[DETECTOR], models[RECOGNIZER], max_pixels=max_pixels)

    @classmethod
    def fits(cls, artifacts: Mapping[str, ServedArtifact]) -> bool:
        """A detector and a recogniser."""
        return list(artifacts) == [DETECTOR, RECOGNIZER]

    @classmethod
    def signature(cls, artifacts: Mapping[str, ServedArtifact]) -> Signature:
        """An image file in, a page in its forms out."""
        forms = tuple(file_port(form) for form in _FORMS)
        return Signature((file_port(IMAGE),), forms, artifacts[DETECTOR].batch_size)

    def _prepare(self, inputs: Arrays) -> list[bytes]:
        return _files(inputs[IMAGE])

    def _run(self, items: list[Any]) -> list[Any]:
        pages = iter(self._pipeline.read_batch([image for images in items for image in images]).pages)
        results = [[next(pages) for _ in images] for images in items]
        # Images that cannot be opened never reach the detector.
        self.models[DETECTOR].counts.rows += sum(page.error is None for found in results for page in found)
        self.models[RECOGNIZER].counts.rows += sum(len(page.words) for found in results for page in found)
        return results

    def _finish(self, result: Sequence[Page], outputs: Collection[str]) -> Arrays:
        for page in result:
            if page.error is not None:
                raise page.error
        return {form: _strings([write(page) for page in result]) for form, write in _FORMS.items() if form in outputs}

    def _example(self) -> Request:
        return Request(lambda: {IMAGE: _blank_image()}, (PAGE,))


# The first that fits serves: name of a class, which config.pbtxt passes on to the server.
KINDS = [f"{__name__}:{kind.__name__}" for kind in (Reader, Recognizer, TensorModel)]


def find_kind(artifacts: Mapping[str, ServedArtifact]) -> str:
    """The kind that serves these artifacts, as `KINDS` names it.

    Raises:
        OptionError: If there is none.
    """
    for name in KINDS:
        if resolve_name(name).fits(artifacts):
            return name
    raise OptionError(f"got artifacts {list(artifacts)}; expected one, or a detector and a recognizer; give those")


def _files(files: NDArray[Any]) -> list[bytes]:
    if not files.size:
        raise SpecError("the request has no row; give at least one image")
    return [_decode_base64(bytes(file)) for file in files.ravel()]


def _decode_base64(file: bytes) -> bytes:
    """The bytes of a file that came as text, as in JSON; those of an image file as they are."""
    text = re.sub(rb"\A\s*data:[\w/+.;=-]*;base64,", b"", file).translate(None, b"\r\n")
    # No image format but the plain ones of Netpbm has letters, digits, + and / alone.
    if not text[:4].isascii() or file[:2] in (b"P1", b"P2", b"P3"):
        return file
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return file


def _to_tensor(array: NDArray[Any], spec: TensorSpec) -> Tensor:
    # A copy: the array lies in memory that belongs to the request.
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(torch.bfloat16) if spec.dtype == "bfloat16" else tensor


def _to_array(tensor: Tensor) -> NDArray[Any]:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).contiguous().numpy()


def _strings(texts: Sequence[str]) -> NDArray[Any]:
    return np.array([[text.encode()] for text in texts], object).reshape(len(texts), 1)


def _blank_image() -> NDArray[Any]:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 32), "white").save(file, "PNG")
    return np.array([[file.getvalue()]], object)
