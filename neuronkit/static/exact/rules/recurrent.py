"""Rules for recurrent layers along the width or the height."""

from __future__ import annotations

from typing import Any

from torch import fx, nn
from torch.nn.modules.rnn import GRU, LSTM  # torch_xla puts a class of its own into torch.nn.

from neuronkit.static.exact import runtime
from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.recurrent import GatedRecurrent
from neuronkit.static.exact.rules.registry import rule
from neuronkit.static.exact.sizes import BATCH
from neuronkit.static.exact.values import Fill, Size, Value, Withheld
from neuronkit.static.trees import find

_STATE = (
    "reads the last state of a recurrent layer, which on a canvas is that of the padding. Take the layer's output at "
    "the last valid entry"
)


@rule("gated", modules=[LSTM, GRU], batch_anywhere=True)
def gated(call: Call) -> Any:
    """Layers with gates that a further input can close."""
    x, layers = call.input, call.module
    if not x.varying or x.dims is None:
        call.refuse("is given no sequence along a dimension that varies")  # Taken as it is.
    given = (*call.node.args[1:], *call.node.kwargs.values())
    if not isinstance(layers, (LSTM, GRU)) or not all(map(_is_zero, given)):
        call.refuse(
            "starts from a state that is given, of other than zeros, which its backward half would meet in the padding"
        )
    time = 1 if layers.batch_first else 0
    if len(x.dims) != 3 or x.dims[1 - time] is not BATCH or x.varying != (time,):
        call.refuse(f"works along another dimension than {time}, or on more than one that varies")
    target = f"{call.path}_gated"
    call.builder.adopt(target, GatedRecurrent(layers))
    if x.fill is Fill.ANYTHING:
        call.builder.zeroed(x)
    outside = call.emit(runtime.outside, call.builder.mask(x), 1.0)
    node = call.builder.graph.call_module(target, (x.node, outside))
    directions = 2 if layers.bidirectional else 1
    dims = (*x.dims[:2], directions * (layers.proj_size or layers.hidden_size))
    fill = Fill.ZERO if isinstance(layers, LSTM) else Fill.FINITE
    return call.builder.output(node, dims, fill), Withheld(_STATE)


_MADE, _KEPT = ("zeros", "new_zeros", "zeros_like"), ("to", "type_as", "float", "half", "double", "cuda", "contiguous")


def _is_zero(state: Any) -> bool:
    """Whether a traced state is made of zeros, as it is where none is given."""
    if not isinstance(state, fx.Node):
        return state is None or (isinstance(state, (tuple, list)) and all(map(_is_zero, state)))
    name = state.target if isinstance(state.target, str) else getattr(state.target, "__name__", "")
    return name in _MADE or (name in _KEPT and _is_zero(state.args[0]))


@rule("zeros", "new_zeros", batch_anywhere=True)
def zeros(call: Call) -> Value:
    """Zeros of a size that does not vary, such as a first state."""
    if any(size.varies for size in find((call.args, call.kwargs), Size)):
        call.refuse("makes a tensor of a size that varies")
    return Value(call.again(), None)


@rule("plain recurrent", modules=[nn.RNN], batch_anywhere=True)
def plain(call: Call) -> Value:
    """Layers without gates."""
    call.refuse("is a recurrent layer without gates: nothing keeps its state 0 in the padding. Take an LSTM or a GRU")
