"""What docTR's recognition models share: how they are called, how they attend and what they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.kit.attention import attend
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.kit.options import ReadingOptions, check_sizes
from neuronkit.errors import OptionError
from neuronkit.interface import RECOGNIZER, Interface
from neuronkit.ocr.doctr import MEAN, STD, DoctrProcessor
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import TOKENS, named_outputs
from neuronkit.static.decoding.methods import AUTO, check_method
from neuronkit.static.model import Foldable, StaticModel
from neuronkit.static.ops import length
from neuronkit.static.original import unwrap

INPUT_SIZE = (32, 128)


@dataclass(frozen=True)
class DoctrOptions(ReadingOptions):
    """The input, the outputs, and how to decode.

    Args:
        height: Of the images, in pixels; None follows the model, or takes 32 where the model does not say.
        width: Of the images, in pixels; None follows the model, or takes 128.
        method: As in `PARSeqOptions`, for PARSeq and MASTER. ViTSTR reads all characters at once, without a method.
        outputs: "logits", or "tokens": the ids and their probabilities, zero after the end where docTR's confidence
            does not count what follows it.
        raw_images: Take images as bytes, 0..255, and normalise them inside.

    Raises:
        SpecError: If a size is not a number of pixels.
        OptionError: If another option has no such value.

    Examples:
        >>> neuronkit.DoctrOptions(height=32, width=128).width
        128
    """

    height: int | None = None
    width: int | None = None
    method: str = AUTO

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sizes(self, "height", "width")
        check_method(self.method)


def image_spec(model: Any, batch_size: int, options: Any) -> TensorSpec:
    """Images (N, 3, H, W), of the size that the model was made for."""
    shape = (getattr(model, "cfg", None) or {}).get("input_shape") or (3, *INPUT_SIZE)
    height, width = options.height or shape[1], options.width or shape[2]
    return TensorSpec("images", (batch_size, 3, height, width), next(model.parameters()).dtype)


def normalization(model: Any, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> Normalization:
    """How docTR normalises the images of a model: as its configuration says, or with these constants."""
    settings = getattr(model, "cfg", None) or {}
    return Normalization(255.0, tuple(settings.get("mean", mean)), tuple(settings.get("std", std)))


class DoctrRecognizer(StaticModel):
    """How the originals are called, and what becomes of their logits."""

    # How docTR rates a word.
    confidence = "mean"
    options: DoctrOptions

    @property
    def interface(self) -> Interface:
        """A recognizer; its classes are the vocabulary, then EOS, SOS and PAD, of which some heads lack the last."""
        vocabulary = str(self.source.vocab)
        count = len(vocabulary)
        outputs = named_outputs(self.options.outputs)
        return Interface(RECOGNIZER, outputs, count + 1, count, count + 2, vocabulary, self.confidence)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """The original's logits, each row alone: docTR stops a batch when its last row has ended."""
        return torch.cat([logits_of(source, row) for row in inputs[0].split(1)])

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Any:
        """All of them: docTR's confidences count what comes after EOS, too."""
        return outputs

    def decoded(self, outputs: Any) -> list[tuple[str, float]]:
        """Text and confidence (0..1) of each row: of logits, by the original's own post-processor."""
        if isinstance(outputs, Tensor):
            return [(text, float(confidence)) for text, confidence in self.source.postprocessor(outputs.detach())]
        read = DoctrProcessor(str(self.source.vocab), confidence=self.confidence).postprocess(outputs)
        return [(word.text, word.confidence) for word in read]


class DoctrReader(DoctrRecognizer):
    """A docTR recogniser that reads all characters at once, in one graph called "read".

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size and outputs.

    Raises:
        OptionError: If `options` name a method of decoding.
    """

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: DoctrOptions | None = None) -> None:
        self.options = options = options or DoctrOptions()
        super().__init__(model, ())
        if options.method != AUTO:
            raise OptionError(
                f"got method={options.method!r} for {type(self.source).__name__}, which reads all characters at once; "
                f"expected {AUTO!r}; leave the method out"
            )
        self.specs = (image_spec(self.source, batch_size, options),)
        if options.raw_images:
            self.take_raw_images(normalization(self.source))

    @abstractmethod
    def reading(self, source: Any) -> nn.Module:
        """Images (N, 3, H, W) → logits (N, T, C)."""

    @property
    @abstractmethod
    def tokens_of(self) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Function that turns logits (N, T, C) into tokens (N, T) int32 and probabilities (N, T), for the graph too."""

    def modules_by_name(self, source: Any) -> dict[str, nn.Module]:
        reading = self.reading(source)
        return {"read": _Tokens(reading, self.tokens_of) if self.options.outputs == TOKENS else reading}

    def as_outputs(self, outputs: Any) -> Any:
        """The original's logits, or their tokens and probabilities with ``outputs="tokens"``."""
        return self.tokens_of(outputs) if self.options.outputs == TOKENS else outputs

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"read": self.specs}


class _Tokens(nn.Module):
    """A module that gives logits, giving tokens and their probabilities."""

    def __init__(self, module: nn.Module, tokens_of: Callable[[Tensor], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.module, self.tokens_of = module, tokens_of

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.tokens_of(self.module(images))


class DoctrDecoder(DoctrRecognizer, EncoderDecoder):
    """A docTR recogniser that decodes character by character.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Size, outputs and method.
        steps: T, the longest sequence in tokens, EOS counted.
        refine_iters: Refinement passes.
    """

    def __init__(
        self, model: nn.Module, batch_size: int, options: DoctrOptions | None, *, steps: int, refine_iters: int = 0
    ) -> None:
        core: Any = unwrap(model)
        self.options = options = options or DoctrOptions()
        # Where no class stands for the beginning, the table of tokens has one more row for it.
        end = len(core.vocab)
        super().__init__(
            model,
            (image_spec(core, batch_size, options),),
            steps=steps,
            bos_id=end + 1,
            eos_id=end,
            method=options.method,
            outputs=options.outputs,
            refine_iters=refine_iters,
        )
        if options.raw_images:
            self.take_raw_images(normalization(core))


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """A docTR recogniser's logits; one that is made to be exported gives them under another name."""
    outputs = model(images, return_model_output=True)
    return outputs["logits" if "logits" in outputs else "out_map"]  # type: ignore[no-any-return]


class VisionFeatures(Foldable):
    """docTR's vision transformer with nothing that Python computes from sizes: images → (N, 1 + patches, D)."""

    def __init__(self, backbone: Any, image: TensorSpec) -> None:
        super().__init__()
        self.patches, self.blocks = backbone["0"], backbone["1"]
        self.height, self.width = image.shape[2:]

    def compute_constants(self) -> tuple[Tensor, ...]:
        patches = self.patches
        positions = patches.positions
        # Positions of square patches follow the image's size, which is fixed here.
        if patches.interpolate:
            height, width = self.height // patches.patch_size[0], self.width // patches.patch_size[1]
            embeddings = positions[:, :1].expand(-1, 1 + height * width, -1)
            positions = patches.interpolate_pos_encoding(embeddings, self.height, self.width)
        return patches.cls_token + positions[:, :1], positions[:, 1:]

    def forward(self, images: Tensor) -> Tensor:
        first, positions = self.constants
        x = self.patches.projection(images).flatten(2).transpose(1, 2) + positions
        x = torch.cat([first.expand(length(images, 0), -1, -1), x], dim=1)
        blocks = self.blocks
        for attention, feed_forward in zip(blocks.attention, blocks.position_feed_forward):
            x = x + self_attended(attention, blocks.layer_norm_input(x))
            x = x + feed_forward(blocks.layer_norm_attention(x))
        return blocks.layer_norm_output(x)


def queries(attention: Any, x: Tensor) -> Tensor:
    """Scaled queries of a docTR attention: (N, T, D) → (N, heads, T, D / heads)."""
    return split_heads(attention, attention.linear_layers[0](x)) * attention.d_k**-0.5


def keys_values(attention: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of a docTR attention: (N, S, D) → twice (N, heads, S, D / heads)."""
    return split_heads(attention, attention.linear_layers[1](x)), split_heads(attention, attention.linear_layers[2](x))


def split_heads(attention: Any, x: Tensor) -> Tensor:
    """(N, T, D) → (N, heads, T, D / heads)."""
    return x.reshape(-1, length(x, 1), attention.num_heads, attention.d_k).transpose(1, 2)


def self_attended(attention: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Self-attention of docTR on normed x (N, T, D) → (N, T, D)."""
    return attended(attention, queries(attention, x), *keys_values(attention, x), mask)


def attended(attention: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of docTR on projected queries, keys and values (N, heads, ·, D / heads) → (N, T, D)."""
    x = attend(q, k, v, mask).transpose(1, 2)
    return attention.output_linear(x.reshape(-1, length(x, 1), attention.num_heads * attention.d_k))
