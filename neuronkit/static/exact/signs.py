"""Which tensors hold no value below 0: before a maximum, zeros are enough outside their valid area."""

from __future__ import annotations

from neuronkit.static.exact.builder import Call
from neuronkit.static.exact.values import Value
from neuronkit.static.trees import find

_NEVER_NEGATIVE = frozenset(
    {"relu", "relu6", "sigmoid", "hardsigmoid", "softplus", "softmax", "abs", "square", "exp", "sqrt", "norm"}
)
# These give nothing below 0 where they are given nothing below 0.
_KEEPING = frozenset(
    {
        "add", "mul", "cat", "stack", "maximum", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
        "adaptive_max_pool2d", "mean", "sum", "amax", "amin", "identity", "dropout", "dropout2d", "stochastic_depth",
        "getitem", "chunk", "split", "narrow", "permute", "transpose", "unsqueeze", "squeeze", "flatten", "reshape",
        "view", "expand", "repeat", "contiguous", "clone", "detach", "to", "float", "type_as", "pixel_shuffle",
        "pixel_unshuffle", "channel_shuffle",
    }
)  # fmt: skip
# Numbers that these are given change the sign of what they give.
_ARITHMETIC = frozenset({"add", "mul"})


def is_nonnegative(call: Call) -> bool:
    """Whether what a call gives holds no value below 0."""
    if call.name in _NEVER_NEGATIVE:
        return True
    given = (call.args, call.kwargs)
    tensors = find(given, Value)
    if call.name not in _KEEPING or not tensors or not all(tensor.nonnegative for tensor in tensors):
        return False
    return call.name not in _ARITHMETIC or all(number >= 0 for kind in (int, float) for number in find(given, kind))
