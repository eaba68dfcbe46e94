"""DecodingModel: what static models have in common that decode greedily."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import LOGITS, Beams, Decoding
from neuronkit.static.decoding.graphs import output_names, tokens_until_end
from neuronkit.static.decoding.loops import end_at_eos
from neuronkit.static.decoding.methods import AUTO, BEAMS, Parts, choose_method, find_method
from neuronkit.static.decoding.packing import LogitsStep
from neuronkit.static.model import StaticModel
from neuronkit.static.original import eval_mode


class Passes(int):
    """Decoder calls, with the positions of a row that they computed together.

    Attributes:
        positions: As many for each row; those before BOS are not counted.
    """

    positions: int


class DecodingModel(StaticModel):
    """A static model that gives logits (N, T, C), position by position, after an encoder where there is one.

    A subclass says what its encoder and its decoder are; graphs, loops and how they are joined follow from the method.

    Args:
        model: The dynamic model.
        specs: Its inputs.
        steps: T, the longest sequence in tokens, EOS counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        further_ends: Other ids that do.
        method: One of `neuronkit.static.decoding.methods`, or "auto".
        causal: Whether to decode; otherwise the decoder's guess without context is all.
        refine_iters: Refinement passes after decoding.
        beams: How beams are searched; None decodes greedily. What comes out then is tokens (N, R, T) int32 and scores
            (N, R).
        passes: Causal passes in the graph of method "fused".
        window: Positions of a call of method "windowed".
        outputs: "logits", or "tokens" with their probabilities.

    Raises:
        OptionError: If the method does not exist, or the decoder cannot be run by it; if it has no window.

    Attributes:
        decoding: How the graphs are joined.
    """

    # Whether what follows EOS has no meaning. It has where the original's confidence counts all positions.
    stops_at_eos = True
    # How many ids the decoder predicts, where it does not say so itself.
    classes: int | None = None
    decoding: Decoding

    def __init__(
        self,
        model: nn.Module,
        specs: Sequence[TensorSpec],
        *,
        steps: int,
        bos_id: int,
        eos_id: int,
        further_ends: tuple[int, ...] = (),
        method: str = "auto",
        causal: bool = True,
        refine_iters: int = 0,
        beams: Beams | None = None,
        passes: int = Decoding.passes,
        window: int | None = None,
        outputs: str = LOGITS,
    ) -> None:
        super().__init__(model, specs)
        self.steps, self.bos_id, self.eos_id = steps, bos_id, eos_id
        decoder = self.decoder(self.source)
        self.wanted_method = method
        self.method = choose_method(method, decoder, f"the decoder of {self.family!r}")
        if beams is not None:
            if method not in (AUTO, "stepwise"):
                raise OptionError(
                    f"got method={method!r} for a beam search, which has one way; expected 'auto'; leave it out"
                )
            self.method = BEAMS
        chosen = find_method(self.method)
        if window is not None and not chosen.needs_caches:
            raise OptionError(
                f"got window={window} for method={self.method!r}; expected 'windowed', which alone has one; leave the "
                "window out, or choose that method"
            )
        decoding = Decoding(
            self.method,
            steps,
            bos_id,
            eos_id,
            further_ends=further_ends,
            inputs=max(1, len(specs)),
            takes_kind=hasattr(decoder, "run"),
            causal=causal,
            refine_iters=refine_iters,
            stops_at_eos=self.stops_at_eos,
            outputs=outputs,
            passes=passes,
            state=getattr(self.stepper(self.source, decoder), "state", None),
            prefix=getattr(decoder, "prefix", None) if chosen.keeps_caches else None,
            beams=beams,
            looks_back=bool(getattr(decoder, "looks_back", False)) and chosen.keeps_caches and beams is None,
            window=window or 0,
        )
        self.decoding = chosen.settled(decoding)

    def encoder(self, source: nn.Module) -> nn.Module | None:
        """The graph module that takes `specs` and gives the memory, one float tensor; None: the input is the memory."""
        return None

    @abstractmethod
    def decoder(self, source: nn.Module) -> Any:
        """The decoder, in one of the protocols of `neuronkit.static.decoding.protocols`."""

    def stepper(self, source: nn.Module, decoder: Any) -> Any:
        """The decoder in the step protocol."""
        return decoder if hasattr(decoder, "step") else LogitsStep(decoder, self.steps)

    @abstractmethod
    def memory_example(self) -> Tensor:
        """A memory of the fixed batch, on the model's device; its values do not matter."""

    def for_target(self, *, is_neuron: bool) -> DecodingModel:
        """The model as a target compiles it: method "auto" is "fused" on Neuron devices, where the decoder can.

        Args:
            is_neuron: Whether the target's graphs run on Neuron devices.

        Raises:
            OptionError: If `is_neuron` is not a bool.
        """
        if not checks.flag("is_neuron", is_neuron) or self.wanted_method != AUTO or self.method != "fixed_point":
            return self
        twin = copy.copy(self)
        twin.method = twin.wanted_method = "fused"
        twin.decoding = replace(self.decoding, method="fused")
        return twin

    @property
    def joining(self) -> Decoding:
        """How the graphs are joined."""
        return self.decoding

    def forward(self, *inputs: Tensor) -> Any:
        """Inputs as `specs` say → logits (N, T, C), right up to and including each row's first EOS.

        With ``outputs="tokens"``: tokens (N, T) int32 and their probabilities (N, T), zero after each row's first EOS.

        Raises:
            SpecError: If the inputs do not fit.
        """
        return super().forward(*inputs)

    def passes(self, *inputs: Tensor) -> Passes:
        """Number of decoder calls that decoding these inputs takes; the steps in one graph count too.

        Its attribute ``positions`` says how many positions of a row they compute together.

        Raises:
            SpecError: If the inputs do not fit.
        """
        with torch.no_grad():
            passes = Passes(self.read(*inputs)[1])
        one_each = self.decoding.prefix is not None or not hasattr(self.decoder(self.source), "logits")
        passes.positions = passes * (max(1, self.decoding.window) if one_each else self.steps)
        return passes

    def read(self, *inputs: Tensor) -> tuple[Any, int]:
        """The outputs of `forward`, and the number of decoder calls.

        Raises:
            SpecError: If the inputs do not fit.
        """
        inputs = self.check_inputs(inputs)
        with eval_mode(self.source):
            return self.run_joined(self.join(self.live_graphs(self.source)), *inputs)

    def run_joined(self, joined: Any, *inputs: Tensor) -> tuple[Any, int]:
        """The outputs of joined graphs, and the number of decoder calls."""
        calls = find_method(self.method).calls(self.decoding)
        if calls is not None:
            return joined(*inputs), calls
        outputs, passes = joined.read(*inputs)
        return outputs, passes

    def as_outputs(self, outputs: Any) -> Any:
        """The original's logits, or their tokens and probabilities with ``outputs="tokens"``."""
        decoding = self.decoding
        return tokens_until_end(outputs, decoding.ends, decoding.stops_at_eos) if decoding.gives_tokens else outputs

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Any:
        """The logits, zero after each row's first EOS; tokens and probabilities are so already."""
        if self.decoding.gives_tokens or self.decoding.beams:
            return outputs
        return end_at_eos(outputs, list(self.decoding.ends))

    def parts(self, source: nn.Module, memory: Callable[[], Tensor] | None = None) -> Parts:
        """What a method builds graphs of, from the weights of `source`."""
        decoder = self.decoder(source)
        return Parts(
            self.decoding,
            self.specs,
            self.encoder(source),
            decoder,
            self.stepper(source, decoder),
            memory or self.memory_example,
            self.classes or getattr(decoder, "classes", None),
        )

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return find_method(self.method).modules(self.parts(source))

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        with eval_mode(self.source):
            return find_method(self.method).specs(self.parts(self.source))

    def graph_outputs(self) -> Mapping[str, tuple[str, ...]]:
        return {**super().graph_outputs(), **output_names(self.decoding)}

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        return find_method(self.method).join(self.decoding, graphs)
