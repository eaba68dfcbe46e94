"""oneDNN's fused recurrent layer, spelled out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from neuronkit.errors import UnsupportedOperatorError

# at::native's number for it; torch calls the kernel for no other.
_LSTM = 2


def lstm_layer(
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
    """One layer and direction of an LSTM, as ``aten::mkldnn_rnn_layer`` takes and gives it.

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
