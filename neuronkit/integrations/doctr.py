"""docTR's predictors with compiled networks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.huggingface.settings import shallow_copy
from neuronkit.adapters.registry import family_of, make_static
from neuronkit.artifact import CompiledModel
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import OptionError
from neuronkit.integrations.stand_in import StandIn, batch_sizes, check_network, compiled_models, original_of
from neuronkit.options import CompileOptions
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.model import StaticModel, as_static
from neuronkit.static.original import unwrap

__all__ = ["accelerate", "restore"]
_PARTS = ("det_predictor", "reco_predictor")


def accelerate(
    predictor: Any,
    *,
    target: str = "cpu",
    detector: CompiledModel | Sequence[CompiledModel] | None = None,
    recognizer: CompiledModel | Sequence[CompiledModel] | None = None,
    options: CompileOptions | None = None,
    op_whitelist: Sequence[str] = (),
    verify: bool = True,
    progress: bool | None = None,
) -> Any:
    """Compile the detection and the recognition network of a docTR predictor, and put them in its place.

    The predictor keeps its interface and settings. Shapes follow from it: pages and crops have the one size that its
    pre-processors make, in batches of `det_bs` and `reco_bs` rows and of an eighth of that. Networks of orientation,
    layout and tables stay docTR's.

    MASTER rates a word by all positions up to where the longest word of its batch ends; compiled, it rates each word as
    docTR does when the word is alone.

    Args:
        predictor: What `doctr.models.ocr_predictor` or `kie_predictor` gives.
        target: As in `compile_for_inferentia`.
        detector: Compiled models of this detection network, such as ``predictor.det_predictor.model.compiled`` held
            before, loaded again; None compiles it.
        recognizer: Likewise, of the recognition network.
        options: Options of the compile.
        op_whitelist: As in `compile_for_inferentia`.
        verify: Compare with the originals before and after compiling.
        progress: Show on stderr what goes on; None shows it on a terminal.

    Returns:
        The same predictor.

    Raises:
        OptionError: If it is not a predictor, a network is quantised, or a compiled model belongs to another network.
        NeuronKitError: Whatever `make_static` and `compile_for_inferentia` raise; the predictor is then unchanged.

    Examples:
        ``predictor = neuronkit.integrations.doctr.accelerate(ocr_predictor(pretrained=True), target="inf2")``
    """
    settings: Any = {"options": options, "op_whitelist": op_whitelist, "verify": verify, "progress": progress}
    compile_ = partial(compile_for_inferentia, target=target, **settings)
    found, read = _parts(predictor)
    finds = DetectionStandIn(original_of(found.model), _models("detector", found, _detector, detector, compile_))
    reads = RecognitionStandIn(original_of(read.model), _models("recognizer", read, _recognizer, recognizer, compile_))
    found.model, read.model = finds, reads
    return predictor


def restore(predictor: Any) -> Any:
    """Put the original networks back.

    Args:
        predictor: What `accelerate` was called with.

    Returns:
        The same predictor.

    Raises:
        OptionError: If it is not a docTR predictor.

    Examples:
        ```python
        restore(predictor)
        ```
    """
    for part in _parts(predictor):
        part.model = original_of(part.model)
    return predictor


class _Logits(nn.Module):
    """A docTR network that gives logits: with `exportable`, which leaves out what Python computes after them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = shallow_copy(network)
        self.network.exportable = True

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)["logits"]  # type: ignore[no-any-return]


class _Maps(_Logits):
    """A docTR detector that gives its map, from 0 to 1, as docTR makes it of the logits."""

    def forward(self, images: Tensor) -> Tensor:
        logits, pooling = super().forward(images), getattr(self.network, "pooling", None)
        return torch.sigmoid(logits if pooling is None else pooling(logits))  # FAST's logits are pooled.


class _DoctrStandIn(StandIn):
    def forward(
        self,
        x: Tensor,
        target: Any = None,
        return_model_output: bool = False,
        return_preds: bool = False,
        **others: Any,
    ) -> dict[str, Any]:
        """As docTR's networks are called in eval mode: images (N, 3, H, W) → a dictionary of maps and predictions."""
        if target is not None:
            raise OptionError("got target; expected none: a compiled network is not trained; train the original")
        if not self.serves(x):
            return self.original(x, None, return_model_output, return_preds, **others)  # type: ignore[no-any-return]
        output = self.compute(x)
        output = output.float() if output.dtype == torch.bfloat16 else output
        return {**({"out_map": output} if return_model_output else {}), "preds": self.predictions(output)}

    def predictions(self, output: Tensor) -> list[Any]:
        """What the original calls ``preds``."""
        return self.postprocessor(output)  # type: ignore[no-any-return]


class DetectionStandIn(_DoctrStandIn):
    """Replaces DBNet, LinkNet or FAST."""

    def predictions(self, output: Tensor) -> list[Any]:
        found = self.postprocessor(output.cpu().permute(0, 2, 3, 1).numpy())
        return [dict(zip(self.class_names, boxes)) for boxes in found]


class RecognitionStandIn(_DoctrStandIn):
    """Replaces a recognition network."""


def _parts(predictor: Any) -> list[Any]:
    parts = [getattr(predictor, name, None) for name in _PARTS]
    if not all(hasattr(part, "model") and hasattr(part, "pre_processor") for part in parts):
        raise OptionError(
            f"got predictor={shown(predictor)}; expected one with detection and recognition; give what "
            "doctr.models.ocr_predictor(...) returns"
        )
    return parts


def _models(name: str, part: Any, make: Any, given: Any, compile_: Any) -> list[CompiledModel]:
    """The compiled models of one part, for the sizes and batches of its pre-processor."""
    network = unwrap(original_of(part.model))
    check_network(name, network, "make the predictor of the model as it was before")
    dtype, shape = next(network.parameters()).dtype, (3, *part.pre_processor.resize.size)
    specs = [TensorSpec("images", (rows, *shape), dtype) for rows in batch_sizes(part.pre_processor.batch_size)]
    return compiled_models(name, [make(network, spec) for spec in specs], given, compile_)


def _detector(network: nn.Module, spec: TensorSpec) -> StaticModel:
    return as_static(_Maps(network), spec)


def _recognizer(network: nn.Module, spec: TensorSpec) -> StaticModel:
    """Of its family, or else, as all that docTR exports, without the predictions."""
    family = family_of(network)
    if family is None:
        return as_static(_Logits(network), spec)
    rows, _, height, width = spec.shape
    return make_static(network, batch_size=rows, options=family.options(height=height, width=width))
