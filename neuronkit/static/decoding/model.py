"""DecodingModel: what static models have in common that decode greedily."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.graphs import OUTPUTS
from neuronkit.static.decoding.loops import end_at_eos
from neuronkit.static.decoding.methods import Parts, choose_method, find_method
from neuronkit.static.decoding.packing import LogitsStep
from neuronkit.static.model import StaticModel, eval_mode


class DecodingModel(StaticModel):
    """A static model that gives logits (N, T, C), position by position, after an encoder where there is one.

    A subclass says what its encoder and its decoder are; graphs, loops and how they are joined follow from the method.

    Args:
        model: The dynamic model.
        specs: Its inputs.
        steps: T, the longest sequence in tokens, EOS counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        method: One of `neuronkit.static.decoding.methods`, or "auto".
        causal: Whether to decode; otherwise the decoder's guess without context is all.
        refine_iters: Refinement passes after decoding.

    Raises:
        OptionError: If the method does not exist, or the decoder cannot be run by it.

    Attributes:
        decoding: How the graphs are joined.
    """

    # Whether what follows EOS has no meaning. It has where the original's confidence counts all positions.
    stops_at_eos = True
    decoding: Decoding

    def __init__(
        self,
        model: nn.Module,
        specs: Sequence[TensorSpec],
        *,
        steps: int,
        bos_id: int,
        eos_id: int,
        method: str = "auto",
        causal: bool = True,
        refine_iters: int = 0,
    ) -> None:
        super().__init__(model, specs)
        self.steps, self.bos_id, self.eos_id = steps, bos_id, eos_id
        decoder = self.decoder(self.source)
        self.method = choose_method(method, decoder, f"the decoder of {self.family!r}")
        self.decoding = Decoding(
            self.method,
            steps,
            bos_id,
            eos_id,
            inputs=max(1, len(specs)),
            takes_kind=hasattr(decoder, "run"),
            causal=causal,
            refine_iters=refine_iters,
            stops_at_eos=self.stops_at_eos,
            state=getattr(self.stepper(self.source), "state", None),
        )

    def encoder(self, source: nn.Module) -> nn.Module | None:
        """The graph module that takes `specs` and gives the memory, one float tensor; None: the input is the memory."""
        return None

    def decoder(self, source: nn.Module) -> Any:
        """The decoder, in one of the protocols of `neuronkit.static.decoding.protocols`."""
        raise NotImplementedError

    def stepper(self, source: nn.Module) -> Any:
        """The decoder in the step protocol."""
        decoder = self.decoder(source)
        return decoder if hasattr(decoder, "step") else LogitsStep(decoder, self.steps)

    def memory_example(self) -> Tensor:
        """A memory of the fixed batch, on the model's device; its values do not matter."""
        raise NotImplementedError

    @property
    def joining(self) -> Decoding:
        """How the graphs are joined."""
        return self.decoding

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs as `specs` say → logits (N, T, C), right up to and including each row's first EOS.

        Raises:
            SpecError: If the inputs do not fit.
        """
        logits: Tensor = super().forward(*inputs)
        return logits

    def passes(self, *inputs: Tensor) -> int:
        """Number of decoder calls that decoding these inputs takes; the steps in one graph count too.

        Raises:
            SpecError: If the inputs do not fit.
        """
        with torch.no_grad():
            return self.read(*inputs)[1]

    def read(self, *inputs: Tensor) -> tuple[Tensor, int]:
        """Logits (N, T, C), and the number of decoder calls.

        Raises:
            SpecError: If the inputs do not fit.
        """
        inputs = self.check_inputs(inputs)
        with eval_mode(self.source):
            return self.run_joined(self.join(self.modules_by_name(self.source)), *inputs)

    def run_joined(self, joined: Any, *inputs: Tensor) -> tuple[Tensor, int]:
        """What joined graphs give, and the number of decoder calls."""
        calls = find_method(self.method).calls(self.decoding)
        if calls is not None:
            return joined(*inputs), calls
        logits, passes = joined.read(*inputs)
        return logits, passes

    def meaningful(self, outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """The logits, zero after each row's first EOS."""
        return end_at_eos(outputs, self.eos_id)

    def parts(self, source: nn.Module, memory: Callable[[], Tensor] | None = None) -> Parts:
        """What a method builds graphs of, from the weights of `source`."""
        return Parts(
            self.decoding,
            self.specs,
            self.encoder(source),
            self.decoder(source),
            self.stepper(source),
            memory or self.memory_example,
        )

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return find_method(self.method).modules(self.parts(source))

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        with eval_mode(self.source):
            return find_method(self.method).specs(self.parts(self.source))

    def graph_outputs(self) -> Mapping[str, tuple[str, ...]]:
        return {**super().graph_outputs(), **OUTPUTS}

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        return find_method(self.method).join(self.decoding, graphs)
