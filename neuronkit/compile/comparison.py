"""Two compiled models, or one and the checkpoint it was made of, compared on data of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from neuronkit.adapters.registry import make_static
from neuronkit.artifact.loading import load
from neuronkit.artifact.model import CompiledModel
from neuronkit.errors import ArtifactError, SpecError
from neuronkit.models.any_file import open_model
from neuronkit.parity import ParityReport, assert_parity


def compare_with(
    artifact: str | PathLike[str],
    other: str | PathLike[str],
    inputs: Sequence[Any],
    *,
    charset: str | None = None,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> ParityReport:
    """Compare an artifact with another one, or with the checkpoint it was made of.

    Args:
        artifact: Path of an artifact that `CompiledModel.save` wrote.
        other: Path of another one with the same inputs, or of a checkpoint of CRAFT or PARSeq.
        inputs: Pictures, which the artifact's processor prepares (pages for a detector, words for a recogniser); or
            paths of ``.npy`` files with the first input.
        charset: For a checkpoint of PARSeq that does not state its characters.
        rtol: See `assert_parity`.
        atol: See `assert_parity`.

    Raises:
        ParityError: If the outputs differ by more; it has the report.
        ArtifactError: If the artifact cannot be read.
        CheckpointError: If `other` is neither an artifact nor a checkpoint.
        SpecError: If the inputs do not fit.
    """
    first = load(artifact)
    cases = [case for given in inputs for case in _prepared(first, given)]
    return assert_parity(first, _function(first, other, charset), cases, rtol=rtol, atol=atol)


def _function(first: CompiledModel, other: str | PathLike[str], charset: str | None) -> Any:
    try:
        return load(other)
    except ArtifactError:
        model = open_model(other, charset=charset)
    shape = first.specs[0].shape
    options: Any = None
    if first.manifest["family"] == "craft":
        from neuronkit.adapters.craft import CRAFTOptions

        options = CRAFTOptions(shape[2], shape[3])
    return make_static(model, batch_size=shape[0], options=options)


def _prepared(model: CompiledModel, given: Any) -> list[tuple[Tensor, ...]]:
    rows = model.specs[0].shape[0]
    if isinstance(given, (str, PathLike)) and Path(given).suffix == ".npy":
        return [(torch.from_numpy(np.load(given)),)]
    if model.processor is None:
        raise SpecError("got pictures for an artifact without a processor; expected arrays; give .npy files")
    prepared = model.processor.preprocess([given] * rows)
    if not isinstance(prepared, tuple):
        return [(torch.from_numpy(np.ascontiguousarray(prepared)),)]
    images, letterboxes = prepared
    inputs = [torch.from_numpy(np.ascontiguousarray(images))]
    if len(model.specs) > 1:
        inputs.append(torch.from_numpy(np.array([box.valid_size for box in letterboxes], np.int32)))
    return [tuple(inputs)]
