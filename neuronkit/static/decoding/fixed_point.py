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
        decode, steps, bos_id, eos_id = graphs["decode"], decoding.steps, decoding.bos_id, decoding.eos_id
        guess: nn.Module = loops.EmptyGuess(steps, eos_id)
        logits: nn.Module = loops.Pass(decode)
        if decoding.takes_kind:
            null_context = loops.NullContext(loops.PassOfKind(decode, loops.GUESS), steps, bos_id)
            if not decoding.causal:
                return parts_of.around(decoding, graphs, null_context)
            guess, logits = loops.NullContextGuess(null_context), loops.PassOfKind(decode, loops.CAUSAL)
        loop = loops.FixedPointLoop(guess, logits, steps, bos_id, eos_id, not decoding.stops_at_eos)
        return parts_of.around(decoding, graphs, loop)


METHOD = FixedPoint()
