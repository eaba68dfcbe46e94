"""All positions at once, until they stop changing: few calls of one small graph."""

from __future__ import annotations

from torch import nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts


class FixedPoint(Method):
    """Graphs "encode" and "decode", and a loop that ends when the tokens do not change any more."""

    name = "fixed_point"
    needs_logits = True

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        return {**parts_of.encode_module(parts), "decode": parts_of.decode_module(parts)}

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        return {**parts_of.encode_specs(parts), "decode": parts_of.decode_specs(parts)}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        decode, guess = graphs["decode"], None
        if decoding.takes_kind:
            guess = loops.NullContext(loops.Pass(decode, decoding, loops.GUESS), decoding)
            if not decoding.causal:
                return parts_of.around(decoding, graphs, guess)
        return parts_of.around(decoding, graphs, loops.FixedPointLoop(guess, loops.Pass(decode, decoding), decoding))


METHOD = FixedPoint()
