"""PARSeq in fixed shapes: exact greedy decoding and refinement, without a growing slice."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.adapters.characters import known_characters
from neuronkit.adapters.parseq_graphs import Decode, EmptyState, Encode, Step
from neuronkit.adapters.parseq_reader import FixedPoint, KeepLogits, NullContext, Reader, Refine, Whole
from neuronkit.adapters.registry import Family
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.interface import RECOGNIZER, Interface, Output
from neuronkit.specs import TensorSpec
from neuronkit.static.decode import StepLoop, Unrolled, end_at_eos
from neuronkit.static.model import StaticModel, eval_mode, unwrap

METHODS = ("auto", "fixed_point", "stepwise", "unrolled")


@dataclass(frozen=True)
class PARSeqOptions:
    """How to decode. None follows the model.

    Args:
        max_length: Longest word, in characters, at most the model's own.
        decoding: "ar" decodes greedily, exactly as the dynamic model; "nar" predicts all characters without context.
        refine_iters: Refinement passes after decoding.
        method: "fixed_point" decodes all positions at once until they stop changing, in few calls of one small graph;
            "stepwise" calls a smaller one once per character; "unrolled" does everything in one large graph. All give
            the same. "auto" takes "fixed_point": on words it needs two or three calls where "stepwise" needs one per
            character, and on the CPU both take the same time (``benchmarks/decoding.py``; no device was measured).
            On weights whose tokens never settle, "stepwise" is the faster one.

    Raises:
        OptionError: If a value is none of these, or a number is not whole.
    """

    max_length: int | None = None
    decoding: str | None = None
    refine_iters: int | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        if self.decoding not in (None, "ar", "nar"):
            raise OptionError(f"decoding={self.decoding!r}: expected 'ar', 'nar' or None to follow the model")
        if self.method not in METHODS:
            raise OptionError(f"method={self.method!r}: expected one of {', '.join(map(repr, METHODS))}")
        if self.refine_iters is not None:
            checks.integer("refine_iters", self.refine_iters, 0)


class StaticPARSeq(StaticModel):
    """PARSeq at a fixed batch and length, computing what the dynamic model computes.

    Takes `neuronkit.models.PARSeq` and both classes of baudm/parseq. Called with images (N, 3, H, W) float32 in -1..1,
    it gives logits (N, max_length + 1, C) float32. Positions up to and including a row's first EOS are those of the
    dynamic model; with refinement, or ``decoding="nar"``, all positions are.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        max_length: See `PARSeqOptions`, as the arguments after it.

    Raises:
        UnknownModelError: If the model does not have PARSeq's parts.
        SpecError: If `max_length` exceeds what the model was built for, or `batch_size` is no number of rows.
    """

    family = "parseq"
    batch_size: int
    steps: int
    autoregressive: bool
    refine_iters: int
    method: str
    bos_id: int
    eos_id: int

    def __init__(
        self,
        model: nn.Module,
        *,
        batch_size: int = 1,
        max_length: int | None = None,
        decoding: str | None = None,
        refine_iters: int | None = None,
        method: str = "auto",
    ) -> None:
        self.options = PARSeqOptions(max_length, decoding, refine_iters, method)
        if not isinstance(model, nn.Module) or not matches(unwrap(model)):
            raise UnknownModelError(
                f"got {type(model).__name__}, which does not have PARSeq's parts; give the dynamic model, as it is"
            )
        super().__init__(model, ())
        core = self.source
        longest = core.pos_queries.shape[1] - 1
        if max_length is not None and not 1 <= checks.integer("max_length", max_length, 0, error=SpecError) <= longest:
            raise SpecError(f"max_length={max_length}: this model reads words of 1 to {longest} characters")
        self.batch_size = batch_size = checks.integer("batch_size", batch_size, 1, error=SpecError)
        self.steps = (longest if max_length is None else max_length) + 1
        self.autoregressive = bool(core.decode_ar) if decoding is None else decoding == "ar"
        self.refine_iters = int(core.refine_iters) if refine_iters is None else refine_iters
        # Without context there is nothing to iterate: the one null-context pass is the fixed point's first.
        self.method = "fixed_point" if method == "auto" or not self.autoregressive else method
        self.bos_id = core.text_embed.embedding.num_embeddings - 2
        self.eos_id = 0
        height, width = _image_size(core)
        self.specs = (TensorSpec("images", (batch_size, 3, height, width), core.pos_queries.dtype),)

    @property
    def source(self) -> Any:
        """The network itself; releases of baudm/parseq wrap it in a training system."""
        source = super().source
        inner = getattr(source, "model", None)
        return inner if isinstance(inner, nn.Module) and matches(inner) else source

    @property
    def interface(self) -> Interface:
        """A recognizer; its classes are EOS and the characters."""
        characters = known_characters(unwrap(self.original), self.bos_id - 1)
        return Interface(RECOGNIZER, (Output("logits"),), self.bos_id, self.eos_id, self.bos_id + 1, characters)

    def passes(self, images: Tensor) -> int:
        """Number of decoder passes that reading these images takes.

        A pass is a guess, a causal pass or a refinement over all positions; with "stepwise" and "unrolled", every step
        counts as one.
        """
        self.check_inputs((images,))
        if self.method == "unrolled":
            return self.steps + self.refine_iters
        with eval_mode(self.source), torch.no_grad():
            passes: int = self.join(self.modules_by_name(self.source)).read(images)[1]
            return passes

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        encode, decode, step = Encode(source), Decode(source, self.steps), Step(source, self.steps)
        if self.method == "unrolled":
            unrolled = Unrolled(self._start(), step, self.steps, self.bos_id)
            return {"read": Whole(encode, unrolled, self._refine(decode), self.refine_iters)}
        if self.method == "fixed_point":
            return {"encode": encode, "decode": decode}
        return {"encode": encode, "step": step, **({"decode": decode} if self.refine_iters else {})}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        core, dtype, batch = self.source, self.specs[0].dtype, self.batch_size
        heads, layers = core.decoder.layers[0].cross_attn.num_heads, len(core.decoder.layers)
        width, patches = core.pos_queries.shape[-1], core.encoder.pos_embed.shape[1]
        memory = TensorSpec("memory", (2 * layers, batch, heads, patches, width // heads), dtype)
        return {
            "read": self.specs,
            "encode": self.specs,
            "decode": (
                TensorSpec("tokens", (batch, self.steps), "int32"),
                TensorSpec("mask", (batch, self.steps, self.steps), dtype),
                memory,
            ),
            "step": (
                TensorSpec("token", (batch,), "int32"),
                TensorSpec("state", (batch, self.steps * (1 + 2 * layers * width)), dtype),
                memory,
            ),
        }

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        if self.method == "unrolled":
            return graphs["read"]
        decode = graphs.get("decode")
        decoder: nn.Module
        if self.method == "stepwise":
            decoder = StepLoop(self._start(), graphs["step"], self.steps, self.bos_id, self.eos_id)
        elif self.autoregressive:
            decoder = FixedPoint(graphs["decode"], self.steps, self.bos_id, self.eos_id, self._dtype())
        else:
            decoder = NullContext(graphs["decode"], self.steps, self.bos_id, self._dtype())
        return Reader(graphs["encode"], decoder, self._refine(decode) if decode else KeepLogits(), self.refine_iters)

    def _start(self) -> EmptyState:
        core = self.source
        return EmptyState(self.steps, 2 * len(core.decoder.layers) * core.pos_queries.shape[-1])

    def _refine(self, decode: Callable[..., Any]) -> Refine:
        return Refine(decode, self.steps, self.bos_id, self.eos_id, self._dtype())

    def _dtype(self) -> torch.dtype:
        return self.specs[0].torch_dtype

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """Let the original run all its steps: what it gives before it would have stopped early is the same."""
        # A shallow copy shares the weights; the settings below are its own.
        original: Any = copy.copy(source)
        original.decode_ar, original.refine_iters = self.autoregressive, self.refine_iters
        tokens = SimpleNamespace(bos_id=self.bos_id, eos_id=self.eos_id, pad_id=self.bos_id + 1)
        takes_tokenizer = "tokenizer" in inspect.signature(original.forward).parameters
        logits: Tensor = original(*([tokens] if takes_tokenizer else []), *inputs, self.steps - 1)
        return logits

    def meaningful(self, outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """The logits, zero after each row's first EOS."""
        return end_at_eos(outputs, self.eos_id)


def matches(model: nn.Module) -> bool:
    """Whether the model has PARSeq's parts, or is a training system around such a model."""
    inner = getattr(model, "model", None)
    if isinstance(inner, nn.Module):
        return matches(inner)
    parts = ("encoder.pos_embed", "encoder.patch_embed", "encoder.blocks", "decoder.layers", "decoder.norm", "head",
             "text_embed.embedding", "pos_queries", "decode_ar", "refine_iters")  # fmt: skip
    return all(_has(model, part) for part in parts) and _has(model.decoder.layers[0], "norm_q")  # type: ignore[index,union-attr]


def _has(model: Any, path: str) -> bool:
    for name in path.split("."):
        if not hasattr(model, name):
            return False
        model = getattr(model, name)
    return True


def _image_size(core: Any) -> tuple[int, int]:
    """(height, width) in pixels; timm keeps it in the patch embedding."""
    height, width = getattr(core, "img_size", None) or core.encoder.patch_embed.img_size
    return int(height), int(width)


def _build(model: nn.Module, *, batch_size: int, options: PARSeqOptions) -> StaticPARSeq:
    return StaticPARSeq(
        model,
        batch_size=batch_size,
        max_length=options.max_length,
        decoding=options.decoding,
        refine_iters=options.refine_iters,
        method=options.method,
    )


FAMILY = Family(
    name="parseq",
    class_names=(
        "neuronkit.models.parseq.PARSeq",
        "strhub.models.parseq.model.PARSeq",
        "strhub.models.parseq.system.PARSeq",
    ),
    matches=matches,
    options=PARSeqOptions,
    build=_build,
)
