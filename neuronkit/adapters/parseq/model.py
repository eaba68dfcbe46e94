"""PARSeq in fixed shapes: exact greedy decoding and refinement, without a growing slice."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.kit.options import ReadingOptions, either
from neuronkit.adapters.parseq.graphs import PARSeqDecoder, PARSeqEncoder, PARSeqStep
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import RECOGNIZER, Interface
from neuronkit.models.characters import known_characters
from neuronkit.ocr.parseq import NORMALIZATION
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import MOST_REFINEMENTS, Decoding
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.decoding.methods import check_method
from neuronkit.static.original import unwrap


@dataclass(frozen=True)
class PARSeqOptions(ReadingOptions):
    """How to decode. None follows the model.

    Args:
        max_length: Longest word, in characters, at most the model's own.
        decoding: "ar" decodes greedily, exactly as the dynamic model; "nar" predicts all characters without context.
        refine_iters: Refinement passes after decoding.
        method: "fixed_point" decodes all positions at once until they stop changing, in few calls of one small graph;
            "stepwise" calls a smaller one once per character; "unrolled" does everything in one large graph; "fused"
            makes several passes in one graph, and calls it again for rows that have not settled. All give the same.
            "auto" takes "fused" where a Neuron target compiles it, since one call moves the fewest bytes, and elsewhere
            "fixed_point": on words it needs two or three calls where "stepwise" needs one per character, and on the CPU
            both take the same time (``benchmarks/decoding.py``; no device was measured). On weights whose tokens never
            settle, "stepwise" is the faster one.
        passes: Passes in the graph of "fused". Of the demo's words, 0.35 to 0.55 % have not settled after five.
        outputs: "logits", or "tokens": the ids and their probabilities, zero after the end.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        OptionError: If a value is none of these, or a number is not whole.

    Examples:
        >>> neuronkit.make_static(parseq, options=neuronkit.PARSeqOptions(max_length=8)).specs[0].shape
        (1, 3, 32, 128)
    """

    max_length: int | None = None
    decoding: str | None = None
    refine_iters: int | None = None
    method: str = "auto"
    passes: int = Decoding.passes

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.integer("passes", self.passes, 1, 1 << 10)
        checks.choice("decoding", self.decoding, (None, "ar", "nar"))
        check_method(self.method)
        if self.refine_iters is not None:
            checks.integer("refine_iters", self.refine_iters, 0, MOST_REFINEMENTS)


class StaticPARSeq(EncoderDecoder):
    """PARSeq at a fixed batch and length, computing what the dynamic model computes.

    Takes `neuronkit.models.PARSeq` and both classes of baudm/parseq. Called with images (N, 3, H, W) float32 in -1..1,
    it gives logits (N, max_length + 1, C) float32. Positions up to and including a row's first EOS are those of the
    dynamic model; with refinement, or ``decoding="nar"``, all positions are. With ``outputs="tokens"`` it gives tokens
    (N, max_length + 1) int32 and their probabilities float32, zero after the first EOS; with ``raw_images`` it takes
    uint8, 0..255.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        max_length: Longest word, in characters; None follows the model.
        decoding: "ar" decodes greedily, "nar" without context; None follows the model.
        refine_iters: Refinement passes; None follows the model.
        method: "auto", "fixed_point", "stepwise", "unrolled" or "fused"; see `PARSeqOptions`.
        options: All four and more in one, instead of them.

    Raises:
        UnknownModelError: If the model does not have PARSeq's parts.
        OptionError: If an option is none, or `options` and single ones are given.
        SpecError: If `max_length` exceeds what the model was built for, or `batch_size` is not a number of rows.

    Examples:
        >>> static = neuronkit.StaticPARSeq(parseq, batch_size=2)
        >>> static(torch.zeros(2, 3, 32, 128)).shape == parseq(torch.zeros(2, 3, 32, 128)).shape
        True
    """

    family = "parseq"

    def __init__(
        self,
        model: nn.Module,
        *,
        batch_size: int = 1,
        max_length: int | None = None,
        decoding: str | None = None,
        refine_iters: int | None = None,
        method: str = "auto",
        options: PARSeqOptions | None = None,
    ) -> None:
        single = {"max_length": max_length, "decoding": decoding, "refine_iters": refine_iters, "method": method}
        self.options = options = either(PARSeqOptions, options, **single)
        if not matches(unwrap(tensors.module("model", model, error=UnknownModelError))):
            raise UnknownModelError(
                f"got {type(model).__name__}, which does not have PARSeq's parts; give the dynamic model, as it is"
            )
        core: Any = _network(unwrap(model))
        longest, limit = core.pos_queries.shape[1] - 1, options.max_length
        if limit is not None and not 1 <= checks.integer("max_length", limit, 0, error=SpecError) <= longest:
            raise SpecError(f"max_length={limit}: this model reads words of 1 to {longest} characters")
        causal = bool(core.decode_ar) if options.decoding is None else options.decoding == "ar"
        shape = (checks.integer("batch_size", batch_size, 1, error=SpecError), 3, *_image_size(core))
        super().__init__(
            model,
            (TensorSpec("images", shape, core.pos_queries.dtype),),
            steps=(longest if limit is None else limit) + 1,
            bos_id=core.text_embed.embedding.num_embeddings - 2,
            eos_id=0,
            # Without context there is nothing to iterate: the one null-context pass is the fixed point's first.
            method=options.method if causal else "fixed_point",
            causal=causal,
            refine_iters=int(core.refine_iters) if options.refine_iters is None else options.refine_iters,
            passes=options.passes,
            outputs=options.outputs,
        )
        if options.raw_images:
            self.take_raw_images(NORMALIZATION)

    @property
    def source(self) -> Any:
        """The network itself; releases of baudm/parseq wrap it in a training system."""
        return _network(super().source)

    @property
    def interface(self) -> Interface:
        """A recognizer; its classes are EOS and the characters."""
        characters = known_characters(unwrap(self.original), self.bos_id - 1)
        return Interface(RECOGNIZER, self.decoding.named_outputs, self.bos_id, self.eos_id, self.bos_id + 1, characters)

    def encoder(self, source: nn.Module) -> PARSeqEncoder:
        return PARSeqEncoder(source)

    def decoder(self, source: nn.Module) -> PARSeqDecoder:
        return PARSeqDecoder(source, self.steps, self.eos_id)

    def stepper(self, source: nn.Module, decoder: Any) -> PARSeqStep:
        return PARSeqStep(source, self.steps)

    def memory_example(self) -> Tensor:
        core = self.source
        layers, heads = core.decoder.layers, core.decoder.layers[0].cross_attn.num_heads
        width, patches = core.pos_queries.shape[-1], core.encoder.pos_embed.shape[1]
        shape = (2 * len(layers), self.specs[0].shape[0], heads, patches, width // heads)
        return torch.zeros(shape, dtype=core.pos_queries.dtype, device=core.pos_queries.device)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """Let the original run all its steps: what it gives before it would have stopped early is the same."""
        # A shallow copy shares the weights; the settings below are its own.
        original: Any = copy.copy(source)
        original.decode_ar, original.refine_iters = self.decoding.causal, self.decoding.refine_iters
        tokens = SimpleNamespace(bos_id=self.bos_id, eos_id=self.eos_id, pad_id=self.bos_id + 1)
        takes_tokenizer = "tokenizer" in inspect.signature(original.forward).parameters
        logits: Tensor = original(*([tokens] if takes_tokenizer else []), *inputs, self.steps - 1)
        return logits

    def decoded(self, outputs: Any) -> list[list[int]]:
        """The ids of each row, up to EOS."""
        return until_eos(outputs, self.eos_id)


def matches(model: nn.Module) -> bool:
    """Whether the model has PARSeq's parts, or is a training system around such a model."""
    inner = getattr(model, "model", None)
    if isinstance(inner, nn.Module):
        return matches(inner)
    parts = ("encoder.pos_embed", "encoder.patch_embed", "encoder.blocks", "decoder.layers", "decoder.norm", "head",
             "text_embed.embedding", "pos_queries", "decode_ar", "refine_iters")  # fmt: skip
    return all(_has(model, part) for part in parts) and _has(model.decoder.layers[0], "norm_q")  # type: ignore[index,union-attr]


def _network(model: Any) -> Any:
    inner = getattr(model, "model", None)
    return inner if isinstance(inner, nn.Module) and matches(inner) else model


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


FAMILY = Family(
    name="parseq",
    class_names=(
        "neuronkit.models.parseq.PARSeq",
        "strhub.models.parseq.model.PARSeq",
        "strhub.models.parseq.system.PARSeq",
    ),
    matches=matches,
    options=PARSeqOptions,
    build=StaticPARSeq,
)
