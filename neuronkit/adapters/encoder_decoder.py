"""The base of adapters for models that encode their input once and decode it greedily."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.encoder_decoder_graphs import AllPositions, EncodeRead, EncodeReadMasked
from neuronkit.errors import OptionError
from neuronkit.interface import SEQ2SEQ, Interface, Output
from neuronkit.specs import TensorSpec
from neuronkit.static.decode import FixedPointReader, StepReader, Unrolled, end_at_eos
from neuronkit.static.model import StaticModel, eval_mode
from neuronkit.static.steps import LogitsStep, PackedStart, PackedStep, pack, packed_layout

METHODS = ("auto", "fixed_point", "stepwise", "unrolled")


class EncoderDecoder(StaticModel):
    """An encoder–decoder in fixed shapes.

    An adapter says what its encoder and its decoder are; the loop, the graphs and how they are joined stand here. It
    implements `encoder`, `decoder`, `run_original` and `decoded`, and sets `family`.

    Args:
        model: The dynamic model.
        specs: Its inputs: one tensor, or one and its mask.
        steps: T, the longest sequence in tokens, EOS counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        method: "fixed_point" decodes all positions at once until they stop changing, "stepwise" one position a call,
            "unrolled" all in one graph. "auto" takes "fixed_point" where the decoder has `logits`, else "stepwise".

    Raises:
        OptionError: If the method does not exist, or the decoder cannot serve it.
    """

    # Whether what follows EOS has no meaning. It has where the original's confidence counts all positions.
    stops_at_eos = True

    def __init__(
        self,
        model: nn.Module,
        specs: Sequence[TensorSpec],
        *,
        steps: int,
        bos_id: int,
        eos_id: int,
        method: str = "auto",
    ) -> None:
        super().__init__(model, specs)
        self.steps, self.bos_id, self.eos_id = steps, bos_id, eos_id
        self.method = self._choose_method(method)
        self._memory: TensorSpec | None = None

    @property
    def interface(self) -> Interface:
        """An encoder–decoder that gives logits over its vocabulary; recognisers say more."""
        return Interface(SEQ2SEQ, (Output("logits"),), self.bos_id, self.eos_id)

    @abstractmethod
    def encoder(self, source: nn.Module) -> nn.Module:
        """The graph module that takes `specs` and gives the memory: one float tensor, N rows first."""

    @abstractmethod
    def decoder(self, source: nn.Module) -> nn.Module:
        """The decoder, in one of the two protocols.

        Either ``logits(tokens, memory)``: (N, T) int32 → (N, T, C), entry i depending on tokens 0..i only. Or
        ``initial_state(memory)`` and ``step(token, state, memory)``: (N,) int32 → (N, C) and the next state.
        """

    @abstractmethod
    def decoded(self, outputs: Tensor) -> list[Any]:
        """What each row of logits says: text, ids, with a confidence where the original gives one."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs as `specs` say → logits (N, T, C), right up to and including each row's first EOS."""
        return self._run(*inputs)[0]

    def passes(self, *inputs: Tensor) -> int:
        """Number of decoder calls that decoding these inputs takes; the steps in one graph count too."""
        with torch.no_grad():
            return self._run(*inputs)[1]

    def meaningful(self, outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """The logits, zero after each row's first EOS."""
        return end_at_eos(outputs, self.eos_id)

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"encode": self.encoder(source), **self._decoder_modules(source)}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        memory = self._memory_spec()
        rows = memory.shape[0]
        if self.method == "fixed_point":
            return {"encode": self.specs, "decode": (TensorSpec("tokens", (rows, self.steps), "int32"), memory)}
        if self.method == "unrolled":
            return {"encode": self.specs, "read": (memory,)}
        example = self._memory_example()
        state = pack(self._steps(self.source).initial_state(example))
        return {
            "encode": self.specs,
            "start": (memory,),
            "step": (
                TensorSpec("token", (rows,), "int32"),
                TensorSpec("state", (rows, state.shape[1]), state.dtype, fill=0),
                memory,
            ),
        }

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> nn.Module:
        joined = EncodeRead if len(self.specs) == 1 else EncodeReadMasked
        return joined(graphs["encode"], self._reader(graphs))

    def _run(self, *inputs: Tensor) -> tuple[Tensor, int]:
        self.check_inputs(inputs)
        with eval_mode(self.source):
            memory = self.encoder(self.source)(*inputs)
            reader = self._reader(self._decoder_modules(self.source, memory.detach()))
            if self.method == "unrolled":
                return reader(memory), self.steps
            logits, passes = reader.read(memory)
            return logits, passes

    def _decoder_modules(self, source: nn.Module, memory: Tensor | None = None) -> dict[str, nn.Module]:
        if self.method == "fixed_point":
            return {"decode": AllPositions(self.decoder(source))}
        steps = self._steps(source)
        with torch.no_grad():
            layout = packed_layout(steps.initial_state(self._memory_example() if memory is None else memory))
        start, step = PackedStart(steps), PackedStep(steps, layout)
        if self.method == "unrolled":
            return {"read": Unrolled(start, step, self.steps, self.bos_id)}
        return {"start": start, "step": step}

    def _steps(self, source: nn.Module) -> Any:
        decoder = self.decoder(source)
        return decoder if hasattr(decoder, "step") else LogitsStep(decoder, self.steps)

    def _reader(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        if self.method == "fixed_point":
            keep_rest = not self.stops_at_eos
            return FixedPointReader(graphs["decode"], self.steps, self.bos_id, self.eos_id, keep_rest)
        if self.method == "unrolled":
            return graphs["read"]
        # No token is -1, so that no row ever ends.
        eos_id = self.eos_id if self.stops_at_eos else -1
        return StepReader(graphs["start"], graphs["step"], self.steps, self.bos_id, eos_id)

    def _memory_spec(self) -> TensorSpec:
        """The memory's shape, found by encoding once."""
        if self._memory is None:
            device = next(self.source.parameters()).device
            with eval_mode(self.source), torch.no_grad():
                memory = self.encoder(self.source)(*(x.to(device) for x in self.example_inputs()))
            self._memory = TensorSpec.of("memory", memory)
        return self._memory

    def _memory_example(self) -> Tensor:
        spec = self._memory_spec()
        return torch.zeros(spec.shape, dtype=spec.torch_dtype, device=next(self.source.parameters()).device)

    def _choose_method(self, method: str) -> str:
        if method not in METHODS:
            raise OptionError(f"method={method!r}: expected one of {', '.join(map(repr, METHODS))}")
        stepwise = hasattr(self.decoder(self.source), "step")
        if method == "fixed_point" and stepwise:
            raise OptionError(
                f"method='fixed_point' computes all positions at once, which the recurrent decoder of {self.family!r} "
                "cannot; choose 'stepwise' or 'unrolled'"
            )
        return ("stepwise" if stepwise else "fixed_point") if method == "auto" else method
