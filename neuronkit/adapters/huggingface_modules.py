"""The graphs of a Hugging Face encoder–decoder: the model's own code, with what a trace cannot hold taken out."""

from __future__ import annotations

import contextlib
import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuronkit.adapters.generation import Generation, Scores

_SIZES = (torch.Tensor.shape.__get__, torch.Tensor.size)  # type: ignore[attr-defined]


class PlainSizes(TorchFunctionMode):
    """Gives sizes as plain numbers while a graph is traced: in fixed shapes they are constants, not values."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.embedding:
            # It compares padding_idx, which is about gradients, with a size.
            kwargs, args = {**dict(zip(("input", "weight"), args)), **kwargs}, ()
            kwargs = {name: value for name, value in kwargs.items() if name != "padding_idx"}
        result = func(*args, **kwargs)
        if func not in _SIZES:
            return result
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            return int(result) if isinstance(result, Tensor) else torch.Size(int(size) for size in result)


def plain_sizes() -> contextlib.AbstractContextManager[Any]:
    """`PlainSizes` while tracing; nothing otherwise, for it costs time."""
    return PlainSizes() if torch.jit.is_tracing() else contextlib.nullcontext()  # type: ignore[attr-defined]


class Absent(nn.Module):
    """Stands where the encoder was in a copy that only decodes."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.config = encoder.config


def sharing_copy(model: nn.Module) -> nn.Module:
    """A copy of a model's structure and configuration that shares its weights, with attention spelled out."""
    tensors = (*model.parameters(), *model.buffers())
    copied = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()
    for module in copied.modules():
        config = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation"):
            config._attn_implementation = "eager"  # type: ignore[union-attr]
    return copied


def without_encoder(model: Any) -> nn.Module:
    """The same model, its encoder replaced; `model` is changed."""
    encoder = model.get_encoder()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if child is encoder:
                setattr(module, name, Absent(encoder))
    return model


def count_padding_in_positions(model: nn.Module) -> None:
    """Make positions computed from tokens those of cached decoding; the model is changed.

    Some embeddings number the tokens that are not padding. Decoding with a cache sees one token at a time, and numbers
    by how many came before; the two differ after padding in the middle of a sequence.
    """
    for module in model.modules():
        if hasattr(module, "create_position_ids_from_input_ids"):
            module.create_position_ids_from_input_ids = _cached_positions  # type: ignore[assignment]


def _cached_positions(input_ids: Tensor, padding_idx: int, past_key_values_length: int = 0) -> Tensor:
    positions = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device) + past_key_values_length
    return torch.where(input_ids == padding_idx, torch.zeros_like(input_ids), positions) + padding_idx


class EncodeImages(nn.Module):
    """Images → the encoder's hidden states (N, S, D)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        with plain_sizes():
            return self.encoder(pixel_values=images, return_dict=False)[0]


class EncodeTokens(nn.Module):
    """Ids and mask (N, S) int32 → the encoder's hidden states with the mask as one more channel, (N, S, D + 1)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with plain_sizes():
            ids, mask = input_ids.long(), attention_mask.long()
            states = self.encoder(input_ids=ids, attention_mask=mask, return_dict=False)[0]
            return torch.cat([states, mask.unsqueeze(-1).to(states.dtype)], dim=-1)


class Decode(nn.Module):
    """All positions at once, in the logits protocol, on the encoder's hidden states and, for texts, their mask."""

    def __init__(self, model: nn.Module, settings: Generation, num_classes: int, masked: bool) -> None:
        super().__init__()
        self.model = model
        self.masked = masked
        self.scores = Scores(settings, num_classes)

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        with plain_sizes():
            mask = {}
            if self.masked:
                mask["attention_mask"] = (memory[..., -1] > 0.5).long()
                memory = memory[..., :-1]
            decoded = self.model(
                encoder_outputs=(memory,), decoder_input_ids=tokens.long(), use_cache=False, return_dict=True, **mask
            )
            return self.scores(decoded.logits.float())
