"""What a Hugging Face encoder–decoder reads, and in which sizes."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuronkit.adapters.huggingface.generation import plain_token
from neuronkit.adapters.huggingface.options import HuggingFaceOptions
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.ocr.images.normalization import Normalization
from neuronkit.specs import TensorSpec
from neuronkit.static.original import failures_named

# Of the source, where the model names no longest one.
DEFAULT_SOURCE_LENGTH = 512
# Main inputs, in the words of transformers.
IMAGES, IDS, PATCHES, FEATURES = KINDS = ("pixel_values", "input_ids", "flattened_patches", "input_features")
_ABOUT_COLOURS = ("do_rescale", "do_normalize", "do_convert_rgb")


def check_kind(model: Any) -> str:
    """The name of the model's main input.

    Raises:
        UnknownModelError: If it is not an encoder–decoder of images or texts that generates.
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
            f"got {cls} of transformers {version}; expected transformers 4.54 or newer, whose `generate` shows how "
            "it counts; update it"
        )
    name = model.main_input_name
    if name not in KINDS:
        raise UnknownModelError(
            f"got {cls}, which reads {name!r}; expected a model that reads {', '.join(KINDS)}; others are not supported"
        )
    return str(name)


def input_specs(kind: str, model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    """The inputs of a model whose main one is of this kind."""
    if options.raw_images and kind != IMAGES:
        raise OptionError(
            f"got raw_images=True for a model that reads {kind}; expected a model of images, such as "
            "VisionEncoderDecoderModel; leave raw_images out"
        )
    makers = {IMAGES: image_specs, IDS: text_specs, PATCHES: patch_specs, FEATURES: feature_specs}
    return makers[kind](model, batch_size, options)


def patch_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    """Pix2Struct's patches, each behind its row and column, and which of them count."""
    config = model.config.vision_config
    patches = options.source_length or config.seq_len
    width = 2 + model.get_encoder().embeddings.patch_projection.in_features
    shape = (batch_size, patches)
    return TensorSpec(PATCHES, (*shape, width), model.dtype, fill=0), TensorSpec("attention_mask", shape, "int32")


def feature_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
    """Whisper's spectrogram of 30 seconds, which is what its feature extractor gives for shorter recordings too."""
    config = model.config
    encoder = model.get_encoder()
    if not hasattr(encoder, "conv1") or not hasattr(encoder, "conv2"):
        raise UnknownModelError(
            f"got {type(model).__name__}, whose encoder does not begin with Whisper's two convolutions; expected "
            "WhisperForConditionalGeneration; other models of sounds are not supported"
        )
    frames = config.max_source_positions * encoder.conv1.stride[0] * encoder.conv2.stride[0]
    return (TensorSpec(FEATURES, (batch_size, config.num_mel_bins, frames), model.dtype),)


def image_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
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


def find_normalization(options: HuggingFaceOptions, channels: int) -> Normalization:
    """How a graph that takes bytes normalises them.

    Raises:
        SpecError: If a graph cannot reproduce the processor's normalisation to the bit.
    """
    if options.image_mean is not None and options.image_std is not None:
        return _for_channels(Normalization(255.0, options.image_mean, options.image_std), channels)
    processor = getattr(options.image_processor, "image_processor", options.image_processor)
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(channels, axis=2)
    with failures_named(type(processor).__name__, "all levels of grey", "Give the checkpoint's processor"):
        given = _normalized_by(processor, levels)
        number = float(processor.rescale_factor) if processor.do_rescale else 1.0
        mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else (0.0, 1.0)
        constants = [np.broadcast_to(np.float32(x), channels) for x in (mean, std)]
    # Newer processors fold the scale into the constants, which gives other bits.
    folded = [x * np.float32(1.0 / number) for x in constants]
    for divisor, values in ((1.0 / number, constants), (1.0, folded)):
        found = Normalization(divisor, *(tuple(x.tolist()) for x in values))
        if np.array_equal(found.table(), given):
            return found
    raise SpecError(
        f"got image_processor={type(processor).__name__}, whose normalisation a graph does not reproduce to the bit; "
        "expected levels that are scaled, less image_mean, divided by image_std; leave raw_images out, or give "
        "image_mean and image_std"
    )


def _normalized_by(processor: Any, levels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What a processor makes of all 256 levels of each colour, without resizing: (C, 256)."""
    alone = copy.deepcopy(processor)
    for name in [name for name in vars(alone) if name.startswith("do_") and name not in _ABOUT_COLOURS]:
        setattr(alone, name, False)
    values = np.asarray(alone([levels], return_tensors="np")["pixel_values"])
    return values.reshape(levels.shape[2], 256)


def _for_channels(normalization: Normalization, channels: int) -> Normalization:
    count = len(normalization.mean)
    if count != channels or len(normalization.std) != channels:
        raise SpecError(
            f"got image_mean and image_std of {count} and {len(normalization.std)} numbers; expected {channels}, one "
            "for each colour of this model's images; give as many"
        )
    return normalization


def text_specs(model: Any, batch_size: int, options: HuggingFaceOptions) -> tuple[TensorSpec, ...]:
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
            # RoBERTa and similar models number positions from the padding's id on.
            return table.num_embeddings - table.padding_idx - 1
    config = getattr(model.config, "encoder", None) or model.config
    names = ("max_encoder_position_embeddings", "max_position_embeddings")
    return next((getattr(config, name) for name in names if getattr(config, name, None) is not None), None)


def plain_row(model: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """One row of inputs, in which every token counts."""
    device = next(model.parameters()).device
    fills = [plain_token(model) if specs[0].name == IDS else 0.0, 1]
    return [torch.full((1, *s.shape[1:]), f, dtype=s.torch_dtype, device=device) for s, f in zip(specs, fills)]
