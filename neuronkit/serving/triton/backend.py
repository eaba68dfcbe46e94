"""What model.py does, without Triton: arrays in, arrays or an error out, for each request alone."""

from __future__ import annotations

import io
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuronkit.artifact import load
from neuronkit.errors import SpecError
from neuronkit.ocr.images import RGBImage, load_image
from neuronkit.ocr.page import Page
from neuronkit.ocr.pipeline import OCRPipeline
from neuronkit.ocr.pipeline.calls import ModelCall
from neuronkit.ocr.pipeline.fitting import fit_recognizer
from neuronkit.serving.triton.metering import Metered
from neuronkit.serving.triton.signature import (
    CONFIDENCE,
    DETECTOR,
    IMAGE,
    PAGE,
    RECOGNIZER,
    TEXT,
    kind_of,
    signature_of,
)
from neuronkit.specs import TensorSpec
from neuronkit.static.padding import VALID_SIZE, FixedShape
from neuronkit.static.trees import leaves

Arrays = Mapping[str, NDArray[Any]]
Answer = Arrays | Exception

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One request of a batch.

    Attributes:
        read: Gives its inputs by name, (rows, ...) each; may raise.
        outputs: Names of the outputs that it wants.
    """

    read: Callable[[], Arrays]
    outputs: Collection[str]


class Served(ABC):
    """A model as a server runs it.

    Attributes:
        models: The compiled models in it, by name.
    """

    models: Mapping[str, Metered]

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests that came together; those that are good share batches.

        Returns:
            For each request the outputs that it wants, or why it has none.
        """
        prepared = [_attempt(self._read, request) for request in requests]
        results = iter(self._run_good([item for item in prepared if not isinstance(item, Exception)]))
        answers: list[Answer] = []
        for request, item in zip(requests, prepared):
            result = item if isinstance(item, Exception) else next(results)
            if not isinstance(result, Exception):
                result = _attempt(self._finish, result, request.outputs)
            answers.append(result)
        return answers

    def warm_up(self) -> None:
        """Run everything once, on valid data, and forget that it was counted.

        Raises:
            Exception: Whatever a request would get.
        """
        for model in self.models.values():
            fixed = FixedShape(model)
            fixed(*(spec.example()[:1] for spec in fixed.data_specs))
        (answer,) = self.answer([self._example()])
        if isinstance(answer, Exception):
            raise answer
        for model in self.models.values():
            model.take()

    def _run_good(self, items: list[Any]) -> list[Any]:
        """Run all together, or, where that fails, each alone, to find whose fault it is."""
        try:
            return self._run(items) if items else []
        except Exception:
            if len(items) > 1:
                _log.exception("a batch of %d requests failed; each is run alone", len(items))
            return [_attempt(self._run_alone, item) for item in items]

    def _read(self, request: Request) -> Any:
        return self._prepare(request.read())

    def _run_alone(self, item: Any) -> Any:
        return self._run([item])[0]

    @abstractmethod
    def _prepare(self, inputs: Arrays) -> Any:
        """Check a request's inputs, and make of them what `_run` takes."""

    @abstractmethod
    def _run(self, items: list[Any]) -> list[Any]:
        """Compute what belongs to each of several prepared requests."""

    @abstractmethod
    def _finish(self, result: Any, outputs: Collection[str]) -> Arrays:
        """Make the wanted outputs of what `_run` gave for one request."""

    @abstractmethod
    def _example(self) -> Request:
        """A valid request for everything."""


class TensorModel(Served):
    """Tensors in, tensors out: a detector, or any other artifact."""

    def __init__(self, model: Metered, manifest: Mapping[str, Any]) -> None:
        self.models = {"model": model}
        self._model = model
        # Half the image's size are CRAFT's score maps and features. Other graphs take their exact size alone.
        self._fixed = FixedShape(model, output_sizes=0.5 if kind_of(manifest) == DETECTOR else 1.0)
        self._outputs = [port.name for port in signature_of(manifest).outputs]

    def _prepare(self, inputs: Arrays) -> tuple[Tensor, ...]:
        wanted = [spec for spec in self._fixed.specs if spec.name in inputs or spec.name != self._fixed.valid_size]
        missing = [spec.name for spec in wanted if spec.name not in inputs]
        if missing:
            raise SpecError(f"the request lacks {missing}; it has {sorted(inputs)}")
        tensors = tuple(_to_tensor(inputs[spec.name], spec) for spec in wanted)
        if VALID_SIZE in inputs:
            _check_valid_size(tensors[[spec.name for spec in wanted].index(VALID_SIZE)], inputs[wanted[0].name])
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
    """Word images in, as tensors or as image files; text and confidence out, and logits for those who want them."""

    def __init__(self, model: Metered, manifest: Mapping[str, Any], max_pixels: int) -> None:
        super().__init__(model, manifest)
        self._processor = fit_recognizer(None, ModelCall(model, "recognizer", 1))
        self._max_pixels = max_pixels

    def _prepare(self, inputs: Arrays) -> tuple[Tensor, ...]:
        (spec,) = self._fixed.specs
        if len(inputs) != 1:
            raise SpecError(f"the request has {sorted(inputs)}; give either {spec.name!r} or {IMAGE!r}")
        if IMAGE not in inputs:
            return super()._prepare(inputs)
        crops = self._processor.preprocess(_load_images(inputs[IMAGE], self._max_pixels))
        return (torch.from_numpy(crops).to(spec.torch_dtype),)

    def _finish(self, result: Sequence[Tensor], outputs: Collection[str]) -> Arrays:
        answer = dict(super()._finish(result, outputs))
        if TEXT in outputs or CONFIDENCE in outputs:
            words = self._processor.postprocess(result[0])
            answer[TEXT] = _strings([word.text for word in words])
            answer[CONFIDENCE] = np.array([[word.confidence] for word in words], np.float32)
        return {name: array for name, array in answer.items() if name in outputs}

    def _example(self) -> Request:
        return Request(lambda: {IMAGE: _blank_image()}, self._outputs)


class Reader(Served):
    """Image files in, pages as JSON out."""

    def __init__(self, detector: Metered, recognizer: Metered, max_pixels: int) -> None:
        self.models = {DETECTOR: detector, RECOGNIZER: recognizer}
        self._pipeline = OCRPipeline(detector, recognizer, max_pixels=max_pixels, progress=False)
        self._max_pixels = max_pixels

    def _prepare(self, inputs: Arrays) -> list[RGBImage]:
        return _load_images(inputs[IMAGE], self._max_pixels)

    def _run(self, items: list[Any]) -> list[Any]:
        pages = iter(self._pipeline([image for images in items for image in images]))
        results = [[next(pages) for _ in images] for images in items]
        self.models[DETECTOR].counts.rows += sum(map(len, results))
        self.models[RECOGNIZER].counts.rows += sum(len(page.words) for found in results for page in found)
        return results

    def _finish(self, result: Sequence[Page], outputs: Collection[str]) -> Arrays:
        for page in result:
            if page.error is not None:
                raise page.error
        return {PAGE: _strings([page.to_json() for page in result])} if PAGE in outputs else {}

    def _example(self) -> Request:
        return Request(lambda: {IMAGE: _blank_image()}, (PAGE,))


def load_served(directory: Path, *, max_pixels: int) -> Served:
    """Load a version of a model that `export_repository` wrote.

    Args:
        directory: Of the version.
        max_pixels: Larger images are refused.

    Raises:
        ArtifactError: If an artifact is not sound.
        MissingSDKError: If it needs an SDK that is not installed here.
    """
    if not (directory / "model.pt").exists():
        detector, recognizer = (Metered(load(directory / name)) for name in ("detector.pt", "recognizer.pt"))
        return Reader(detector, recognizer, max_pixels)
    model = load(directory / "model.pt")
    if kind_of(model.manifest) == RECOGNIZER:
        return Recognizer(Metered(model), model.manifest, max_pixels)
    return TensorModel(Metered(model), model.manifest)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives, or what it raises: whatever goes wrong concerns one request alone."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def _load_images(files: NDArray[Any], max_pixels: int) -> list[RGBImage]:
    if not files.size:
        raise SpecError("the request has no row; give at least one image")
    return [load_image(bytes(file), max_pixels=max_pixels) for file in files.ravel()]


def _check_valid_size(valid_size: Tensor, images: NDArray[Any]) -> None:
    height, width = images.shape[-2:]
    if ((valid_size < 1) | (valid_size > torch.tensor([height, width]))).any():
        raise SpecError(
            f"{VALID_SIZE} is {valid_size.tolist()} for images of {height} x {width}; expected (height, width) of each "
            "image, at least 1 and at most the tensor's own"
        )


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
