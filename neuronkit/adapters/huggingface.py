"""Hugging Face encoder–decoders: what `generate(num_beams=1, do_sample=False)` gives, in fixed shapes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.adapters.generation import plain_token, read_generation, shallow_copy
from neuronkit.adapters.generation_scores import BANNED
from neuronkit.adapters.huggingface_experts import check_routers, dense_experts
from neuronkit.adapters.huggingface_modules import (
    Decode,
    EncodeImages,
    EncodeTokens,
    count_padding_in_positions,
    sharing_copy,
    without_encoder,
)
from neuronkit.adapters.kit.encoder_decoder import EncoderDecoder
from neuronkit.adapters.kit.options import check_sizes
from neuronkit.adapters.registry import Family
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import SEQ2SEQ, Interface, Output
from neuronkit.specs import TensorSpec
from neuronkit.static.model import unwrap

# Of the source, where the model names no longest one.
DEFAULT_SOURCE_LENGTH = 512


@dataclass(frozen=True)
class HuggingFaceOptions:
    """Sizes and method. None follows the model.

    Args:
        max_length: Longest sequence that is decoded, in new tokens, EOS counted and the start not; what `generate`
            calls `max_new_tokens`.
        source_length: Length of a text given to the encoder, in tokens; shorter ones are padded and masked.
        height: Of an image given to the encoder, in pixels.
        width: Of an image given to the encoder, in pixels.
        num_beams: 1 decodes greedily where the model's settings ask for beam search, which is not reproduced.
        method: "fixed_point" decodes all positions at once until they stop changing, "stepwise" one position a call,
            "unrolled" all in one graph. "auto" takes "fixed_point".

    Raises:
        SpecError: If a size is not a positive whole number, or num_beams is not 1.
    """

    max_length: int | None = None
    source_length: int | None = None
    height: int | None = None
    width: int | None = None
    num_beams: int | None = None
    method: str = "auto"

    def __post_init__(self) -> None:
        check_sizes(self, "max_length", "source_length", "height", "width")
        if self.num_beams is not None:
            object.__setattr__(self, "num_beams", checks.integer("num_beams", self.num_beams, 1, 1, error=SpecError))

    def arguments(self) -> dict[str, Any]:
        """What `generate` is called with, for the same result, beside the inputs."""
        given = {"max_new_tokens": self.max_length, "num_beams": self.num_beams}
        return {name: value for name, value in given.items() if value is not None}


class StaticHuggingFace(EncoderDecoder):
    """A Hugging Face encoder–decoder at a fixed batch and length, decoding greedily.

    A vision model is called with images (N, 3, H, W), a text model with ids (N, S) int32 and their mask (N, S) int32,
    1 where a token counts. It gives scores (N, T, V) float32, right up to and including each row's first EOS: the
    logits, after what the generation settings force or ban, with -2 ** 100 in place of -inf.

    Args:
        model: The dynamic model. What `model.generate` does with its settings is asked of the installed transformers.
        batch_size: Rows of the fixed batch.
        options: Sizes and method.

    Raises:
        SpecError: If the model's generation settings hold something that is not reproduced, or a size does not fit.
        UnknownModelError: If it is no encoder–decoder of images or texts.
    """

    family = "huggingface"
    # Copies of the model that share its weights: the tensors they share, one that encodes, one that decodes.
    _copies: tuple[tuple[Any, ...], Any, Any] | None = None

    def __init__(self, model: nn.Module, *, batch_size: int = 1, options: HuggingFaceOptions | None = None) -> None:
        core: Any = unwrap(model)
        options = options or HuggingFaceOptions()
        self.reads_images = _check_kind(core) == "pixel_values"
        specs = _image_specs(core, batch_size, options) if self.reads_images else _text_specs(core, batch_size, options)
        check_routers(core)
        self.arguments = options.arguments()
        self.generation = read_generation(sharing_copy(core), self._named(_plain_row(core, specs)), self.arguments)
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
        """An encoder–decoder, with the tokens that `generate` starts, ends and fills rows with."""
        return Interface(SEQ2SEQ, (Output("logits"),), self.bos_id, self.eos_id, self.generation.pad_id)

    def encoder(self, source: nn.Module) -> nn.Module:
        encoder = self._shared(source)[0].get_encoder()
        return EncodeImages(encoder) if self.reads_images else EncodeTokens(encoder)

    def decoder(self, source: Any) -> nn.Module:
        decoder = Decode(self._shared(source)[1], self.generation, masked=not self.reads_images)
        return decoder.to(next(source.parameters()).device)

    def run_original(self, source: Any, *inputs: Tensor) -> Tensor:
        """`generate` as its callers call it, its scores padded to the fixed length."""
        with warnings.catch_warnings():
            # Advice about settings, which are the caller's.
            warnings.simplefilter("ignore", UserWarning)
            generated = shallow_copy(source).generate(
                **self._named(inputs), **self.arguments, return_dict_in_generate=True, output_scores=True
            )
        scores = torch.stack(generated.scores, dim=1).clamp(min=BANNED)
        if scores.shape[1] > self.steps:
            raise SpecError(
                f"generate gives {scores.shape[1]} tokens, expected {self.steps} at most; the model's settings have "
                "changed since make_static, make the static model again"
            )
        return torch.nn.functional.pad(scores, [0, 0, 0, self.steps - scores.shape[1]])

    def _named(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Inputs under the names and in the types that `generate` takes."""
        if self.reads_images:
            return {"pixel_values": inputs[0]}
        return dict(zip(("input_ids", "attention_mask"), (x.long() for x in inputs)))

    def check_inputs(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Check the inputs against `specs`, and ids against the vocabulary.

        Returns:
            The inputs, as plain tensors.

        Raises:
            SpecError: If one does not fit, or an id is not in the vocabulary.
        """
        given = super().check_inputs(inputs)
        ids = given[0]
        if self.reads_images or not ids.numel() or tensors.being_traced():
            return given
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= self._vocabulary():
            raise SpecError(
                f"input_ids: got ids from {low} to {high}; expected 0 to {self._vocabulary() - 1}, this model's "
                "vocabulary; use its own tokenizer"
            )
        return given

    def decoded(self, outputs: Tensor) -> list[list[int]]:
        """The ids of each row, without the start and up to EOS, as a tokenizer's `decode` takes them."""
        rows = tensors.tensor("outputs", outputs, shape=(None, None, None)).argmax(-1).tolist()
        return [row[: row.index(self.eos_id)] if self.eos_id in row else row for row in rows]

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random images, or random ids with lengths of their own."""
        if self.reads_images:
            return super().example_inputs(seed)
        rows, length = self.specs[0].shape
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, self._vocabulary(), (rows, length), generator=generator, dtype=torch.int32)
        lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
        return ids, (torch.arange(length) < lengths).to(torch.int32)

    def _vocabulary(self) -> int:
        return len(self.source.get_input_embeddings().weight)

    def _shared(self, source: nn.Module) -> tuple[Any, Any]:
        shared = (*source.parameters(), *source.buffers())
        key = (*map(id, shared), *map(id, source.modules()))
        if self._copies is None or self._copies[0] != key:
            encodes, decodes = sharing_copy(source), without_encoder(sharing_copy(source))
            cached = self.generation.uses_cache
            dense_experts(encodes)
            dense_experts(decodes, capacity=self.steps if cached else 0)
            if cached:
                count_padding_in_positions(decodes)
            # Not registered: the weights stay the original's alone.
            self.__dict__["_copies"] = key, encodes, decodes
        return self._copies[1:]  # type: ignore[index]


def _check_kind(model: Any) -> str:
    """The name of the model's main input.

    Raises:
        UnknownModelError: If it is no encoder–decoder of images or texts that generates.
        SpecError: If it is of a release of transformers that is too old.
    """
    cls = f"{type(model).__module__}.{type(model).__qualname__}"
    needed = ("generate", "generation_config", "config", "main_input_name", "get_encoder", "get_output_embeddings")
    missing = [name for name in needed if getattr(model, name, None) is None]
    if missing:
        raise UnknownModelError(
            f"got {cls}, which has no {' nor '.join(missing)}; expected an encoder–decoder of transformers that "
            "generates, such as VisionEncoderDecoderModel; pass the model itself"
        )
    if not getattr(model.config, "is_encoder_decoder", False):
        raise UnknownModelError(
            f"got {cls}, a model without an encoder; expected an encoder–decoder of transformers, such as "
            "VisionEncoderDecoderModel; models that only decode are not supported"
        )
    if not hasattr(model, "_prepare_generation_config"):
        version = getattr(sys.modules.get(type(model).__module__.split(".")[0]), "__version__", "of an unknown version")
        raise SpecError(
            f"got {cls} of transformers {version}; expected transformers 4.54 or newer, of which `generate` can be "
            "asked how it counts; update it"
        )
    name = model.main_input_name
    if name not in ("pixel_values", "input_ids"):
        raise UnknownModelError(
            f"got {cls}, which reads {name!r}; expected a model that reads 'pixel_values' or 'input_ids'; others are "
            "not supported"
        )
    return str(name)


def _image_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    config = getattr(model.config, "encoder", model.config)
    size = getattr(config, "image_size", None)
    own = (size, size) if isinstance(size, int) else tuple(size or (None, None))
    height, width = options.height or own[0], options.width or own[1]
    if height is None or width is None:
        raise SpecError(
            f"got height={options.height}, width={options.width}; expected a size, which the configuration of this "
            "model's encoder does not name; pass HuggingFaceOptions(height=..., width=...)"
        )
    return (TensorSpec("images", (batch_size, getattr(config, "num_channels", 3), height, width), model.dtype),)


def _text_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    positions = _source_positions(model)
    # T5 names a length that it was trained on, and takes others.
    trained = getattr(model.config, "n_positions", None)
    length = options.source_length or positions or trained or DEFAULT_SOURCE_LENGTH
    if positions is not None and length > positions:
        raise SpecError(
            f"got source_length={length}; expected at most {positions}, the positions of this model's encoder, or "
            "those up to which sparse attention does not depend on the padding; give a smaller source_length"
        )
    shape = (batch_size, length)
    return TensorSpec("input_ids", shape, "int32"), TensorSpec("attention_mask", shape, "int32")


def _source_positions(model: Any) -> int | None:
    """How many tokens the encoder takes, where the model names a number."""
    positions, dense = _table_positions(model), _densely_attended(model)
    return min(positions, dense) if positions is not None and dense is not None else positions or dense


def _densely_attended(model: Any) -> int | None:
    """Up to which length BigBird attends to everything. Beyond, what a token sees depends on the padded length."""
    config = model.config
    if getattr(config, "attention_type", None) != "block_sparse":
        return None
    return int((5 + 2 * config.num_random_blocks) * config.block_size)


def _table_positions(model: Any) -> int | None:
    for module in model.get_encoder().modules():
        table = getattr(module, "position_embeddings", None)
        if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
            # RoBERTa's kin count from the padding's id.
            return table.num_embeddings - table.padding_idx - 1
    config = getattr(model.config, "encoder", None) or model.config
    names = ("max_encoder_position_embeddings", "max_position_embeddings")
    return next((getattr(config, name) for name in names if getattr(config, name, None) is not None), None)


def _plain_row(model: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """One row of inputs, in which every token counts."""
    device = next(model.parameters()).device
    fills = [0.0] if len(specs) == 1 else [plain_token(model), 1]
    return [torch.full((1, *s.shape[1:]), f, dtype=s.torch_dtype, device=device) for s, f in zip(specs, fills)]


# Their results are tested against `generate`'s.
_TEXT_MODELS = {
    "bart": "BartForConditionalGeneration",
    "bigbird_pegasus": "BigBirdPegasusForConditionalGeneration",
    "blenderbot_small": "BlenderbotSmallForConditionalGeneration",
    "led": "LEDForConditionalGeneration",
    "longt5": "LongT5ForConditionalGeneration",
    "m2m_100": "M2M100ForConditionalGeneration",
    "marian": "MarianMTModel",
    "mbart": "MBartForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "mvp": "MvpForConditionalGeneration",
    "nllb_moe": "NllbMoeForConditionalGeneration",
    "pegasus": "PegasusForConditionalGeneration",
    "pegasus_x": "PegasusXForConditionalGeneration",
    "plbart": "PLBartForConditionalGeneration",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
    "t5": "T5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
}
_VISION_MODELS = {"vision_encoder_decoder": "VisionEncoderDecoderModel"}

FAMILY = Family(
    name="huggingface",
    class_names=tuple(
        f"transformers.models.{folder}.modeling_{folder}.{name}"
        for folder, name in {**_VISION_MODELS, **_TEXT_MODELS}.items()
    ),
    matches=lambda model: False,
    options=HuggingFaceOptions,
    build=StaticHuggingFace,
)
