"""LSTMs spelled out: no list of operators has the cell, and a layer of them is a loop to most compilers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neuronkit.static.ops import length

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def lstm_step(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gates (N, 4 * D), as torch orders them, and the cell state (N, D) → hidden and cell state, (N, D) each."""
    entered, kept, candidate, shown = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(entered) * torch.tanh(candidate)
    return torch.sigmoid(shown) * torch.tanh(cell), cell


def lstm_cell(module: nn.LSTMCell, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of `nn.LSTMCell`: x (N, E) and the state before → the state after, each two tensors (N, D)."""
    gates = F.linear(x, module.weight_ih, module.bias_ih) + F.linear(state[0], module.weight_hh, module.bias_hh)
    return lstm_step(gates, state[1])


def lstm(module: nn.LSTM, x: Tensor) -> Tensor:
    """A batch-first `nn.LSTM` in eval mode, unrolled from a state of zeros: x (N, T, E) → (N, T, D)."""
    steps = range(length(x, 1))
    for layer in range(module.num_layers):
        forward = _direction(module, x, f"l{layer}", steps)
        if not module.bidirectional:
            x = forward
        else:
            x = torch.cat([forward, _direction(module, x, f"l{layer}_reverse", steps[::-1])], dim=-1)
    return x


def _direction(module: nn.LSTM, x: Tensor, suffix: str, steps: range) -> Tensor:
    weight_ih, weight_hh, bias_ih, bias_hh = (getattr(module, f"{n}_{suffix}") for n in _NAMES)
    # The inputs' share of all gates in one product.
    inputs = F.linear(x, weight_ih, bias_ih + bias_hh)
    hidden = cell = torch.zeros_like(inputs[:, 0, : module.hidden_size])
    outputs = {}
    for step in steps:
        hidden, cell = lstm_step(inputs[:, step] + F.linear(hidden, weight_hh), cell)
        outputs[step] = hidden
    return torch.stack([outputs[step] for step in sorted(outputs)], dim=1)
