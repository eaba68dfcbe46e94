"""The graphs of a Hugging Face encoder–decoder: the model's own code, with what a trace cannot hold taken out."""

from __future__ import annotations

import contextlib
import copy
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuronkit import tensors
from neuronkit.adapters.huggingface.generation import Generation
from neuronkit.adapters.huggingface.scores import Rules
from neuronkit.static.ops import length
from neuronkit.static.trees import find
from neuronkit.threads.quiet import quiet

_SIZES = (torch.Tensor.shape.__get__, torch.Tensor.size, torch.Tensor.numel)  # type: ignore[attr-defined]


# In half precision encoders clamp the output of a layer that has overflown. A graph clamps in any
# case, which changes numbers above 64504 alone. What each question answers about a tensor that has overflown:
_FINITE = {torch.isfinite: False, Tensor.isfinite: False, torch.isinf: True, Tensor.isinf: True}
_REDUCED = (torch.any, Tensor.any, torch.all, Tensor.all)


def _without_warnings() -> contextlib.AbstractContextManager[None]:
    return quiet(torch.jit.TracerWarning)  # type: ignore[attr-defined]


class PlainSizes(TorchFunctionMode):
    """Gives sizes as plain numbers while a graph is captured: in fixed shapes they are constants, not values.

    Masks of padding, which are read entry by entry in order, are read without a gather; tables as embeddings.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__getitem__ and _reads_in_order(*args):
            first, count, _ = args[1][1].counted
            return args[0][:, None, None, first : first + count]
        if func is Tensor.index_select and args[1] == 0 and args[0].dim() == 2:
            func, args = nn.functional.embedding, (args[2], args[0])
        if func is Tensor.__getitem__ and isinstance(args[0], nn.Parameter) and _is_ids(args[1]) and args[0].dim() == 2:
            func, args = nn.functional.embedding, (args[1], args[0])
        if func is nn.functional.embedding:
            # It compares padding_idx, which is about gradients, with a size.
            kwargs, args = {**dict(zip(("input", "weight"), args)), **kwargs}, ()
            kwargs = {name: value for name, value in kwargs.items() if name != "padding_idx"}
        if func is torch.tensor and not find(args[0], Tensor):
            # A trace warns of constants made this way, whatever they are.
            with _without_warnings():
                return func(*args, **kwargs)
        if func is Tensor.__bool__ and hasattr(args[0], "if_overflown"):
            return args[0].if_overflown
        result = func(*args, **kwargs)
        counted = _counted(func, args)
        if counted is not None:
            result.counted = counted
        if func in _FINITE:
            result.if_overflown = _FINITE[func]
        elif func in _REDUCED and hasattr(args[0], "if_overflown"):
            result.if_overflown = args[0].if_overflown
        if func not in _SIZES:
            return result
        with _without_warnings():
            return int(result) if isinstance(result, (int, Tensor)) else torch.Size(int(size) for size in result)


def _counted(func: Any, args: Any) -> tuple[int, int, int] | None:
    """The first number, how many and the dimension of a result that counts up, whatever a graph is given."""
    if func is torch.arange:
        return (0, args[0], 0) if len(args) == 1 and isinstance(args[0], int) else None
    if len(args) < 2 or not hasattr(args[0], "counted"):
        return None
    first, count, axis = args[0].counted
    if func in (Tensor.add, Tensor.__add__) and isinstance(args[1], int):
        return first + args[1], count, axis
    is_broadcast = isinstance(args[1], tuple) and set(map(type, args[1])) == {slice, type(None)}
    if func is Tensor.__getitem__ and axis == 0 and is_broadcast and slice(None) in args[1]:
        return first, count, args[1].index(slice(None))
    return None


def _is_ids(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.int32, torch.int64)


def _reads_in_order(mask: Tensor, index: Any) -> bool:
    """Whether an index selects all rows of a mask (N, S), and for columns one after the other, as (N, 1, 1, K)."""
    if not isinstance(index, tuple) or len(index) != 2 or not all(hasattr(part, "counted") for part in index):
        return False
    rows, columns = (part.counted for part in index)
    return rows == (0, length(mask, 0), 0) and columns[2] == 3


def plain_sizes() -> contextlib.AbstractContextManager[Any]:
    """`PlainSizes` while a graph is captured; nothing otherwise, for it costs time."""
    return PlainSizes() if tensors.being_traced() else contextlib.nullcontext()


class NoGlobalAttention(TorchFunctionMode):
    """Answers "no" where an encoder asks its mask for tokens of global attention, which `generate` never marks."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.item and args[0].dtype == torch.bool:
            return False
        return func(*args, **(kwargs or {}))


class EncoderOutputs(tuple[Any, ...]):
    """An encoder's outputs as all models take them: a tuple, whose first entry has a name."""

    hidden_states = attentions = router_probs = router_logits = None

    @property
    def last_hidden_state(self) -> Any:
        return self[0]


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
        # Zeros for all positions, which would be gathered by position.
        module._buffers.pop("token_type_ids", None)
    configs = configurations(copied)
    for config in configs:
        config.own_attention = config._attn_implementation
    for config in configs:
        config._attn_implementation = "eager"
    return copied


def configurations(model: nn.Module) -> list[Any]:
    """Those that say how attention is computed, each once; those of parts come after that of the whole."""
    found = (getattr(module, "config", None) for module in model.modules())
    return list({id(config): config for config in found if hasattr(config, "_attn_implementation")}.values())


@contextlib.contextmanager
def own_attention(configs: Sequence[Any]) -> Iterator[None]:
    """Attention as the model computes it itself, where that is torch's."""
    try:
        for config in configs:
            config._attn_implementation = "sdpa" if config.own_attention == "sdpa" else "eager"
        yield
    finally:
        for config in configs:
            config._attn_implementation = "eager"


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

    Some embeddings number the tokens that are not padding. Decoding with a cache gets one token at a time, and numbers
    by how many came before; the two differ after padding in the middle of a sequence.
    """
    for module in model.modules():
        if hasattr(module, "create_position_ids_from_input_ids"):
            module.create_position_ids_from_input_ids = _cached_positions  # type: ignore[assignment]
        elif hasattr(module, "position_embeddings") and _numbers_by_function(module):
            module.register_forward_pre_hook(_give_positions, with_kwargs=True)


def _numbers_by_function(module: nn.Module) -> bool:
    """Whether positions come from a function of the file, as in RoBERTa and similar models before transformers 5."""
    takes = inspect.signature(module.forward).parameters
    file = sys.modules[type(module).__module__]
    return "position_ids" in takes and hasattr(file, "create_position_ids_from_input_ids")


def _give_positions(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    if kwargs.get("position_ids") is None and kwargs.get("input_ids") is not None:
        kwargs = {**kwargs, "position_ids": _cached_positions(kwargs["input_ids"], module.padding_idx)}
    return args, kwargs


def _cached_positions(input_ids: Tensor, padding_idx: int, past_key_values_length: int = 0) -> Tensor:
    positions = torch.arange(1, input_ids.shape[1] + 1, device=input_ids.device) + past_key_values_length
    return torch.where(input_ids == padding_idx, torch.zeros_like(input_ids), positions) + padding_idx


class EncodeImages(nn.Module):
    """Images (N, C, H, W), or a spectrogram (N, C, W) → the encoder's hidden states (N, S, D).

    Args:
        encoder: The model's.
        name: What the encoder calls its input.
    """

    def __init__(self, encoder: nn.Module, name: str = "pixel_values") -> None:
        super().__init__()
        self.encoder, self.name = encoder, name

    def forward(self, images: Tensor) -> Tensor:
        with plain_sizes():
            return self.encoder(**{self.name: images}, return_dict=False)[0]


# An id in channels of a memory: as digits of 8 bits, which every float type holds.
_DIGITS = tuple(1 << shift for shift in (16, 8, 0))


class EncodeTokens(nn.Module):
    """Ids (N, S) int32 or patches (N, S, P), and their mask → hidden states with the mask behind them, (N, S, D + 1).

    Args:
        encoder: The model's.
        name: What the encoder calls its input.
        keeps_ids: Whether the ids' digits follow, three channels more, for rules that read them.
    """

    def __init__(self, encoder: nn.Module, name: str = "input_ids", keeps_ids: bool = False) -> None:
        super().__init__()
        self.encoder, self.name, self.keeps_ids = encoder, name, keeps_ids
        self.asks_for_global_attention = type(encoder).__name__ == "LEDEncoder"

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        with plain_sizes():
            given = input_ids if input_ids.is_floating_point() else input_ids.long()
            mask = attention_mask.long()
            with NoGlobalAttention() if self.asks_for_global_attention else contextlib.nullcontext():
                states = self.encoder(**{self.name: given}, attention_mask=mask, return_dict=False)[0]
            digits = [torch.div(input_ids, digit, rounding_mode="floor") for digit in _DIGITS if self.keeps_ids]
            channels = [mask, *(digit - 256 * torch.div(digit, 256, rounding_mode="floor") for digit in digits)]
            return torch.cat([states, torch.stack(channels, -1).to(states.dtype)], dim=-1)


class Decode(nn.Module):
    """All positions at once, in the logits protocol, on the encoder's hidden states and, for texts, their mask."""

    def __init__(self, model: Any, settings: Generation, masked: bool) -> None:
        super().__init__()
        self.model = model
        self.masked = masked
        # Before 5, SwitchTransformers returns them by default.
        takes = inspect.signature(model.forward).parameters
        self.without = {"output_router_logits": False} if "output_router_logits" in takes else {}
        self.scores = Rules(settings.rules)
        # Beams are scored by the logarithms of probabilities, to which the rules are applied.
        self.beams = settings.beams is not None
        self.classes = settings.vocabulary
        # Channels behind the hidden states: a mask, and the digits of the encoder's tokens.
        self.channels = int(masked) + len(_DIGITS) * int(self.scores.reads_source)

    def split(self, memory: Tensor) -> tuple[Tensor, Tensor | None]:
        """Memory (N, S, D + channels) → hidden states (N, S, D), and the mask (N, S) int64 of models that take one."""
        states = memory.shape[2] - self.channels
        return memory[..., :states], (memory[..., states] > 0.5).long() if self.masked else None

    def source(self, memory: Tensor) -> Tensor | None:
        """The encoder's tokens (N, S) int32, where a rule reads them."""
        if not self.scores.reads_source:
            return None
        digits = memory[..., -len(_DIGITS) :].float()
        return sum(digits[..., i] * digit for i, digit in enumerate(_DIGITS)).to(torch.int32)  # type: ignore[union-attr]

    def compute(self, tokens: Tensor, states: Tensor, mask: Tensor | None, **cache: Any) -> Tensor:
        """Tokens (N, W), hidden states (N, S, D) and their mask (N, S) → logits (N, W, V) float32."""
        named = {} if mask is None else {"attention_mask": mask}
        decoded = self.model(
            encoder_outputs=EncoderOutputs([states]),
            decoder_input_ids=tokens.long(),
            use_cache=bool(cache),
            return_dict=True,
            **named,
            **cache,
            **self.without,
        )
        return decoded.logits.float()  # type: ignore[no-any-return]

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        with plain_sizes():
            logits = self.compute(tokens, *self.split(memory))
            if self.beams:
                return logits
            positions = torch.arange(tokens.shape[1], dtype=torch.int32, device=tokens.device).unsqueeze(0)
            return self.scores(logits, positions, tokens, self.source(memory))  # type: ignore[no-any-return]

    def process(self, scores: Tensor, tokens: Tensor, position: Tensor, memory: Tensor) -> Tensor:
        """Scores (N, W, V) that follow the tokens at `position` (N, W) of tokens (N, T), after the rules."""
        with plain_sizes():
            return self.scores(scores, position, tokens, self.source(memory))  # type: ignore[no-any-return]
