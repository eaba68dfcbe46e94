"""Recurrent layers on a padded canvas: a further input closes their gates in the padding, and no state enters it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuronkit.static.model import Foldable
from neuronkit.static.ops import length

# sigmoid(-CLOSED) is exactly 0, and sigmoid(CLOSED) exactly 1; every float type holds it.
CLOSED = 2.0**13
_WEIGHTS, _BIASES, _PROJECTION = ("weight_ih", "weight_hh"), ("bias_ih", "bias_hh"), ("weight_hr",)
# Compilers that unroll a recurrent layer anyway, into some three times as many instructions.
_UNROLLING = ("torch-xla", "torch-neuron-native")


class GatedRecurrent(Foldable):
    """`nn.LSTM` or `nn.GRU` whose state stays what it is in the padding, in both directions and all layers.

    Each layer has one more input, 1 in the padding and 0 elsewhere. Its weight closes an LSTM's input and forget gates,
    so that the state is 0 there, and opens a GRU's update gate, which keeps the state. The backward half, which begins
    in the padding, then starts at the last valid entry with an empty state, as it does without padding.

    Args:
        source: The layers; their weights are shared.

    Attributes:
        unrolled: Whether cells are spelled out, one for each entry, in place of torch's own operator.
    """

    def __init__(self, source: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.source: nn.RNNBase | None = source
        self.is_lstm = isinstance(source, nn.LSTM)
        self.num_layers, self.hidden_size = source.num_layers, source.hidden_size
        self.projected_size = source.proj_size
        self.batch_first, self.has_bias = source.batch_first, bool(source.bias)
        self.directions = 2 if source.bidirectional else 1
        self.unrolled = False

    def suit(self, rules: str) -> None:
        self.unrolled = rules in _UNROLLING

    def fold(self) -> None:
        super().fold()
        self.source = None

    def compute_constants(self) -> tuple[Tensor, ...]:
        """The layers' weights with the further input's, in torch's order; stacked by direction where unrolled."""
        layers = [self._layer(layer) for layer in range(self.num_layers)]
        if not self.unrolled:
            return tuple(weight for layer in layers for direction in layer for weight in direction)
        return tuple(stacked for layer in layers for stacked in self._stacked(layer))

    def _layer(self, layer: int) -> list[list[Tensor]]:
        names = _WEIGHTS + (_BIASES if self.has_bias else ()) + (_PROJECTION if self.projected_size else ())
        directions = []
        for suffix in (f"l{layer}", f"l{layer}_reverse")[: self.directions]:
            weights = [getattr(self.source, f"{name}_{suffix}") for name in names]
            gate = torch.zeros_like(weights[0][:, :1])
            if self.is_lstm:  # Input, forget, cell and output gates.
                gate[: 2 * self.hidden_size] = -CLOSED
            else:  # Reset, update and new gates.
                gate[self.hidden_size : 2 * self.hidden_size] = CLOSED
            directions.append([torch.cat([weights[0], gate], dim=1), *weights[1:]])
        return directions

    def _stacked(self, layer: list[list[Tensor]]) -> tuple[Tensor, ...]:
        """(D * G, E + 1) and (D * G) for the inputs; (D, S, G) for the state, of a GRU without the new gate; and
        (D, H, S), which projects an LSTM's state, or (D, H + 1, H), a GRU's new gate and its bias.
        """
        size = self.hidden_size
        inputs, hidden = (torch.stack([direction[i] for direction in layer]) for i in (0, 1))
        empty = torch.zeros_like(inputs[:, :, 0])
        input_bias, hidden_bias = (
            torch.stack([direction[i] for direction in layer]) if self.has_bias else empty for i in (2, 3)
        )
        further: list[Tensor] = []
        if self.is_lstm:
            # The cell gate last: the others pass one sigmoid.
            order = [0, 1, 3, 2]
            inputs, hidden, bias = (
                torch.cat([weight.chunk(4, 1)[i] for i in order], 1)
                for weight in (inputs, hidden, input_bias + hidden_bias)
            )
            if self.projected_size:
                further = [torch.stack([direction[-1].t() for direction in layer])]
        else:
            # The reset gate multiplies what the state adds to the new gate, its bias too.
            further = [torch.cat([hidden, hidden_bias.unsqueeze(2)], 2)[:, 2 * size :].transpose(1, 2)]
            bias = torch.cat([(input_bias + hidden_bias)[:, : 2 * size], input_bias[:, 2 * size :]], 1)
            hidden = hidden[:, : 2 * size]
        return inputs.flatten(0, 1), bias.flatten(), hidden.transpose(1, 2), *further

    def forward(self, x: Tensor, outside: Tensor) -> Tensor:
        """Run all layers.

        Args:
            x: (N, T, E), or (T, N, E) where the layers are not batch-first; finite in the padding.
            outside: The same with one entry for E, 1 in the padding and 0 elsewhere.

        Returns:
            (N, T, D * S), or (T, N, D * S): S is the size of a state, H where nothing projects it.
        """
        constants = self.constants
        per_layer = len(constants) // self.num_layers
        for layer in range(self.num_layers):
            weights = constants[layer * per_layer : (layer + 1) * per_layer]
            given = torch.cat([x, outside], dim=2)
            x = self._unroll(given, weights) if self.unrolled else self._call(given, weights)
        return x

    def _call(self, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """One layer by torch's own operator."""
        batch = length(x, 0 if self.batch_first else 1)
        state = torch.zeros(self.directions, batch, self.hidden_size, dtype=x.dtype, device=x.device)
        settings = (self.has_bias, 1, 0.0, False, self.directions == 2, self.batch_first)
        if self.is_lstm:
            shown = state[:, :, : self.projected_size] if self.projected_size else state
            return torch.lstm(x, (shown, state), weights, *settings)[0]
        return torch.gru(x, state, weights, *settings)[0]

    def _unroll(self, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
        """One layer, spelled out: the inputs' share of all gates in one product, both directions in one a step."""
        inputs, bias, hidden, *further = weights
        x = x if self.batch_first else x.transpose(0, 1)
        shares = torch.nn.functional.linear(x, inputs, bias).chunk(self.directions, dim=2)
        ordered = [share if i == 0 else share.flip(1) for i, share in enumerate(shares)]
        gates, size = torch.stack(ordered), self.hidden_size
        cell = torch.zeros_like(gates[:, :, 0, :size])
        state = cell[:, :, : self.projected_size] if self.projected_size else cell
        ones = torch.ones_like(cell[:, :, :1])
        summed, new = gates if self.is_lstm else gates[..., : 2 * size], gates[..., 2 * size :]
        outputs = []
        for step in range(length(x, 1)):
            given = torch.baddbmm(summed[:, :, step], state, hidden)
            if self.is_lstm:
                state, cell = self._lstm_step(given, cell)
                state = torch.bmm(state, further[0]) if further else state
            else:
                state = self._gru_step(
                    given, new[:, :, step], torch.bmm(torch.cat([state, ones], 2), further[0]), state
                )
            outputs.append(state)
        directions = torch.cat(outputs, dim=2).unflatten(2, (len(outputs), -1)).unbind(0)
        joined = torch.cat([out if i == 0 else out.flip(1) for i, out in enumerate(directions)], dim=2)
        return joined if self.batch_first else joined.transpose(0, 1).contiguous()

    def _lstm_step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        size = self.hidden_size
        entered, kept, shown = torch.sigmoid(gates[:, :, : 3 * size]).chunk(3, dim=2)
        cell = kept * cell + entered * torch.tanh(gates[:, :, 3 * size :])
        return shown * torch.tanh(cell), cell

    def _gru_step(self, gates: Tensor, given: Tensor, remembered: Tensor, state: Tensor) -> Tensor:
        reset, kept = torch.sigmoid(gates).chunk(2, dim=2)
        new = torch.tanh(given + reset * remembered)
        return new + kept * (state - new)
