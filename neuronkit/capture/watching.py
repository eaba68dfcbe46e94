"""Seeing every operator of a model as it runs, the products inside fused kernels among them."""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from neuronkit.capture.products import base_name, is_composite
from neuronkit.capture.tracing import nodes_of
from neuronkit.errors import UnsupportedOperatorError

# at::native's number for it; torch calls the kernel for no other.
_LSTM = 2


class OperatorMode(TorchDispatchMode, ABC):
    """Runs every ATen operator through `run`, after taking those apart that hold several.

    Operators are those below autograd: what torch writes with others is seen as these, and the CPU kernels that fuse
    attention or a recurrent layer are replaced by the products, sums and activations they stand for.
    """

    refused: UnsupportedOperatorError | None = None

    @abstractmethod
    def run(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Compute one operator, or whatever is to happen in its place."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        parts = _parts_of(func)
        if parts is not None:
            with self:
                return parts(*args, **(kwargs or {}))
        try:
            return self.run(func, args, kwargs or {})
        except UnsupportedOperatorError as error:
            self.refused = error
            raise


def refuse_fused_script(model: nn.Module) -> None:
    """Raise UnsupportedOperatorError for TorchScript with operators that its interpreter runs by itself, unseen."""
    for part in model.modules():
        # Some scripted parts have other methods than forward.
        if not isinstance(part, torch.jit.ScriptModule) or not part._c._has_method("forward"):
            continue
        for node in nodes_of(part.graph):
            kind = node.kind()
            if kind.startswith("prim::mkldnn") or kind.endswith("Group"):
                raise UnsupportedOperatorError(
                    f"{kind} in TorchScript: it was optimised for this CPU, with products that cannot be seen from "
                    "outside. Give the module that torch.jit.optimize_for_inference was given"
                )


@contextlib.contextmanager
def watched_by(mode: OperatorMode) -> Iterator[None]:
    """Within, every operator that this thread runs goes through the mode; without gradients and torch's autocast."""
    # TorchScript's optimizer would compute the products of weights once, in the mode, and keep them for later calls.
    unoptimized = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    # It would cast operands before they reach the mode.
    float32 = torch.autocast("cpu", enabled=False)
    try:
        with torch.no_grad(), unoptimized, float32, _NoFastPaths(), mode:
            yield
    except RuntimeError as error:
        # TorchScript's interpreter passes an exception on without its type and message.
        if mode.refused is None or error is mode.refused:
            raise
        raise mode.refused from error


class _NoFastPaths(TorchFunctionMode):
    """Changes nothing; while one is active, attention modules do not choose their fused kernels."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


@functools.cache
def _parts_of(func: Any) -> Callable[..., Any] | None:
    """What computes the same in more than one operator; None for an operator that is to run as it is."""
    fused = _FUSED.get(base_name(func))
    if fused is not None:
        return fused
    return func.decompose if is_composite(func) else None


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The flash kernel of the CPU as two products and a softmax, in torch's own decomposition.

    Returns:
        The attended values in the kernel's layout, and zeros in place of what only gradients need.
    """
    attended = torch.ops.aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale
    )[0]
    return attended.transpose(1, 2).contiguous().transpose(1, 2), query.new_zeros(query.shape[:-1])


def _lstm_layer(
    inputs: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    hidden: Tensor,
    cell: Tensor,
    reverse: bool,
    batch_sizes: Any,
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One layer and direction of an LSTM, as oneDNN's fused kernel takes and gives it.

    Args:
        inputs: (T, N, I) float32.
        weight_ih: (4 H, I), input, forget, cell and output gate.
        weight_hh: (4 H, H).
        bias_ih: (4 H,).
        bias_hh: (4 H,).
        hidden: (N, H), or (1, N, H).
        cell: Likewise.
        reverse: Whether time runs backwards.
        batch_sizes: Lengths of packed sequences, unused.
        mode: The kind of layer.
        hidden_size: H.
        num_layers: 1.
        has_biases: Whether the biases count.

    Returns:
        Hidden states (T, N, H), the last hidden and cell state, and an empty workspace.
    """
    if mode != _LSTM:
        raise UnsupportedOperatorError(f"aten::mkldnn_rnn_layer of kind {mode}: only LSTM (2) is known; use nn.LSTM")
    first, second = (bias_ih, bias_hh) if has_biases else (None, None)
    from_inputs = F.linear(inputs, weight_ih, first)
    h, c = hidden.reshape(-1, hidden_size), cell.reshape(-1, hidden_size)
    states: list[Tensor] = []
    for gates in reversed(from_inputs.unbind(0)) if reverse else from_inputs.unbind(0):
        into, forget, candidate, out = (gates + F.linear(h, weight_hh, second)).chunk(4, dim=1)
        c = forget.sigmoid() * c + into.sigmoid() * candidate.tanh()
        h = out.sigmoid() * c.tanh()
        states.append(h)
    outputs = torch.stack(states[::-1] if reverse else states)
    return outputs, h.reshape(hidden.shape), c.reshape(cell.shape), inputs.new_zeros(0)


_FUSED: Mapping[str, Callable[..., Any]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "mkldnn_rnn_layer": _lstm_layer,
}
