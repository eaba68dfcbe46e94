"""Hugging Face encoder–decoders: what `generate(num_beams=1, do_sample=False)` gives, in fixed shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.encoder_decoder import EncoderDecoder
from neuronkit.adapters.generation import BANNED, read_generation
from neuronkit.adapters.huggingface_modules import (
    Decode,
    EncodeImages,
    EncodeTokens,
    count_padding_in_positions,
    sharing_copy,
    without_encoder,
)
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError
from neuronkit.interface import SEQ2SEQ, Interface, Output
from neuronkit.specs import TensorSpec
from neuronkit.static.model import unwrap

# Of the source, where the model names no longest one.
DEFAULT_SOURCE_LENGTH = 512


@dataclass(frozen=True)
class HuggingFaceOptions:
    """Sizes. None follows the model.

    Args:
        max_length: Longest sequence that is decoded, in new tokens, EOS counted and the start not.
        source_length: Length of a text given to the encoder, in tokens; shorter ones are padded and masked.
        height: Of an image given to the encoder, in pixels.
        width: Of an image given to the encoder, in pixels.
        method: "fixed_point" decodes all positions at once until they stop changing, "stepwise" one position a call,
            "unrolled" all in one graph. "auto" takes "fixed_point".

    Raises:
        SpecError: If a size is not positive.
    """

    max_length: int | None = None
    source_length: int | None = None
    height: int | None = None
    width: int | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        for name in ("max_length", "source_length", "height", "width"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise SpecError(f"{name}={value!r}: expected a positive number, or None to follow the model")


class StaticHuggingFace(EncoderDecoder):
    """A Hugging Face encoder–decoder at a fixed batch and length, decoding greedily.

    A vision model is called with images (N, 3, H, W), a text model with ids (N, S) int32 and their mask (N, S) int32,
    1 where a token counts. It gives scores (N, T, V) float32, right up to and including each row's first EOS: the
    logits, after what the generation settings force or ban, with -2 ** 100 in place of -inf.

    Args:
        model: The dynamic model.
        batch_size: Rows of the fixed batch.
        options: Sizes.

    Raises:
        SpecError: If the model's generation settings hold something that is not reproduced, or a size does not fit.
    """

    family = "huggingface"
    # Copies of the model that share its weights: the tensors they share, one that encodes, one that decodes.
    _copies: tuple[tuple[Any, ...], Any, Any] | None = None

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: HuggingFaceOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or HuggingFaceOptions()
        self.generation = read_generation(core, options.max_length)
        _check_length(core, self.generation.new_tokens)
        self.reads_images = core.main_input_name == "pixel_values"
        specs = _image_specs(core, batch_size, options) if self.reads_images else _text_specs(core, batch_size, options)
        super().__init__(
            model,
            specs,
            steps=self.generation.new_tokens,
            bos_id=self.generation.start_id,
            eos_id=self.generation.eos_id,
            method=options.method,
        )

    @property
    def interface(self) -> Interface:
        """An encoder–decoder, its padding token that of the model's generation settings."""
        pad_id = getattr(self.source.generation_config, "pad_token_id", None)
        return Interface(SEQ2SEQ, (Output("logits"),), self.bos_id, self.eos_id, pad_id)

    def encoder(self, source: nn.Module) -> nn.Module:
        encoder = self._shared(source)[0].get_encoder()
        return EncodeImages(encoder) if self.reads_images else EncodeTokens(encoder)

    def decoder(self, source: Any) -> nn.Module:
        num_classes = len(source.get_output_embeddings().weight)
        decoder = Decode(self._shared(source)[1], self.generation, num_classes, masked=not self.reads_images)
        return decoder.to(next(source.parameters()).device)

    def run_original(self, source: Any, *inputs: Tensor) -> Tensor:
        """`generate`, its scores padded to the fixed length."""
        names = ("pixel_values",) if self.reads_images else ("input_ids", "attention_mask")
        values = inputs if self.reads_images else [x.long() for x in inputs]
        generated = source.generate(
            **dict(zip(names, values)),
            num_beams=1,
            do_sample=False,
            num_return_sequences=1,
            max_new_tokens=self.steps,
            return_dict_in_generate=True,
            output_scores=True,
        )
        scores = torch.stack(generated.scores, dim=1).clamp(min=BANNED)
        return torch.nn.functional.pad(scores, [0, 0, 0, self.steps - scores.shape[1]])

    def decoded(self, outputs: Tensor) -> list[list[int]]:
        """The ids of each row, without the start and up to EOS, as a tokenizer's `decode` takes them."""
        rows = outputs.argmax(-1).tolist()
        return [row[: row.index(self.eos_id)] if self.eos_id in row else row for row in rows]

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, or random ids with lengths of their own."""
        if self.reads_images:
            return super().example_inputs(seed)
        rows, length = self.specs[0].shape
        generator = torch.Generator().manual_seed(seed)
        vocabulary = self.source.get_input_embeddings().weight.shape[0]
        ids = torch.randint(0, vocabulary, (rows, length), generator=generator, dtype=torch.int32)
        lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
        return ids, (torch.arange(length) < lengths).to(torch.int32)

    def _shared(self, source: nn.Module) -> tuple[Any, Any]:
        tensors = (*source.parameters(), *source.buffers())
        key = (*map(id, tensors), *map(id, source.modules()))
        if self._copies is None or self._copies[0] != key:
            encodes, decodes = sharing_copy(source), without_encoder(sharing_copy(source))
            if self.generation.counts_padding:
                count_padding_in_positions(decodes)
            # Not registered: the weights stay the original's alone.
            self.__dict__["_copies"] = key, encodes, decodes
        return self._copies[1:]  # type: ignore[index]


def _check_length(model: Any, new_tokens: int) -> None:
    config = getattr(model.config, "decoder", None) or model.config
    longest = getattr(config, "max_position_embeddings", None)
    if longest is not None and new_tokens > longest:
        raise SpecError(f"max_length={new_tokens}: this model's decoder has {longest} positions")


def _image_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    config = model.config.encoder
    size = config.image_size
    height, width = (size, size) if isinstance(size, int) else size
    channels = getattr(config, "num_channels", 3)
    return (
        TensorSpec("images", (batch_size, channels, options.height or height, options.width or width), model.dtype),
    )


def _text_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    config = model.config
    places = getattr(config, "max_position_embeddings", None)
    # T5 names a length that it was trained on, and takes others.
    length = options.source_length or places or getattr(config, "n_positions", None) or DEFAULT_SOURCE_LENGTH
    if places is not None and length > places:
        raise SpecError(f"source_length={length}: this model's encoder has {places} positions")
    shape = (batch_size, length)
    return TensorSpec("input_ids", shape, "int32"), TensorSpec("attention_mask", shape, "int32")


FAMILY = Family(
    name="huggingface",
    class_names=(
        "transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder.VisionEncoderDecoderModel",
        "transformers.models.marian.modeling_marian.MarianMTModel",
        "transformers.models.bart.modeling_bart.BartForConditionalGeneration",
        "transformers.models.t5.modeling_t5.T5ForConditionalGeneration",
    ),
    matches=lambda model: False,
    options=HuggingFaceOptions,
    build=StaticHuggingFace,
)
