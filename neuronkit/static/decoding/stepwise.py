"""One position a call: for decoders too large to unroll, and for those that cannot compute all positions at once."""

from __future__ import annotations

from torch import nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import graphs as parts_of
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.caches import CachedLoop, cached_modules, cached_specs
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Method, Parts
from neuronkit.static.decoding.packing import PackedStart, PackedStep, state_layout


class Stepwise(Method):
    """Graphs "encode" and "step", "start" where the first state depends on the memory, and "decode" to refine.

    With a decoder that offers caches, "start" makes what all steps share, and "step" computes one position.
    """

    name = "stepwise"

    def modules(self, parts: Parts) -> dict[str, nn.Module]:
        if parts.decoding.prefix is not None:
            return {**parts_of.encode_module(parts), **cached_modules(parts)}
        layout = state_layout(parts.steps, parts.memory())
        start = {} if parts.decoding.state else {"start": PackedStart(parts.steps, layout)}
        refine = {"decode": parts_of.decode_module(parts)} if parts.decoding.refine_iters else {}
        return {
            **parts_of.encode_module(parts),
            **start,
            "step": PackedStep(parts.steps, layout, parts.decoding.gives_tokens),
            **refine,
        }

    def specs(self, parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
        memory = parts_of.memory_spec(parts)
        if parts.decoding.prefix is not None:
            return {**parts_of.encode_specs(parts), **cached_specs(parts, memory, 1)}
        start = {} if parts.decoding.state else {"start": (memory,)}
        refine = {"decode": parts_of.decode_specs(parts)} if parts.decoding.refine_iters else {}
        token = TensorSpec("token", (parts.rows,), "int32")
        step = token, state_layout(parts.steps, parts.memory()).spec(parts.rows), memory
        return {**parts_of.encode_specs(parts), **start, "step": step, **refine}

    def join(self, decoding: Decoding, graphs: Graphs) -> nn.Module:
        if decoding.prefix is not None:
            return parts_of.around(decoding, graphs, CachedLoop(graphs["start"], graphs["step"], decoding))
        start = loops.EmptyState(decoding.state) if decoding.state else loops.GraphStart(graphs["start"])
        return parts_of.around(decoding, graphs, loops.StepLoop(start, graphs["step"], decoding))


METHOD = Stepwise()
