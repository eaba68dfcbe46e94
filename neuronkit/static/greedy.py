"""static_greedy_decoder: any greedy decoder in fixed shapes, exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import OptionError, SpecError
from neuronkit.interface import OTHER, Interface, Output
from neuronkit.specs import TensorSpec
from neuronkit.static.decode import FixedPointReader, StepReader, Unrolled, end_at_eos
from neuronkit.static.model import StaticModel, eval_mode
from neuronkit.static.protocols import LogitsGraph, as_module, check_causality, check_steps
from neuronkit.static.steps import LogitsStep, PackedStart, PackedStep, packed_layout

METHODS = ("auto", "fixed_point", "stepwise", "unrolled")


def static_greedy_decoder(
    decoder: Any,
    *,
    max_length: int,
    bos_id: int,
    eos_id: int,
    memory: TensorSpec | Tensor | None = None,
    method: str = "auto",
) -> GreedyDecoder:
    """Decode greedily in fixed shapes, with the result of the growing loop.

    Args:
        decoder: One of two protocols, as an object with methods of these names, or as a function of these arguments:
            ``logits(tokens, memory)`` takes (N, T) int32 tokens, BOS first, and gives (N, T, C), where entry i depends
            on tokens 0..i only; ``step(token, state, memory)`` takes (N,) int32 and gives (N, C) and the next state, a
            tensor or a tuple of tensors with N rows each, beginning with ``initial_state(memory)``.
        max_length: Longest sequence, in tokens, EOS not counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        memory: What the decoder attends to, as an example or its spec; needed to compile, not to run eagerly.
        method: "fixed_point" decodes all positions at once until they stop changing (few calls of one graph),
            "stepwise" one position a call, "unrolled" all in one graph. "auto" takes "fixed_point" for the first
            protocol, whose every call computes all positions anyway, and "stepwise" for the second, which cannot
            compute them at once.

    Returns:
        A static model: memory → logits (N, max_length + 1, C), right up to and including each row's first EOS.

    Raises:
        OptionError: If the method does not exist, or the protocol cannot serve it.
        SpecError: If the decoder follows neither protocol, or is not causal; names the positions that moved. If an id
            is outside the vocabulary.
    """
    return GreedyDecoder(decoder, max_length=max_length, bos_id=bos_id, eos_id=eos_id, memory=memory, method=method)


class GreedyDecoder(StaticModel):
    """What `static_greedy_decoder` makes; see there."""

    family = "greedy"

    def __init__(
        self,
        decoder: Any,
        *,
        max_length: int,
        bos_id: int,
        eos_id: int,
        memory: TensorSpec | Tensor | None = None,
        method: str = "auto",
    ) -> None:
        module = as_module(decoder)
        super().__init__(module, ())
        self.protocol = "step" if hasattr(module, "step") else "logits"
        self.method = _choose_method(method, self.protocol)
        self.steps = checks.integer("max_length", max_length, 1, error=SpecError) + 1
        self.bos_id = checks.integer("bos_id", bos_id, 0, error=SpecError)
        self.eos_id = checks.integer("eos_id", eos_id, 0, error=SpecError)
        self._checked = False
        if isinstance(memory, Tensor):
            memory = TensorSpec.of("memory", memory)
        if memory is not None:
            if not isinstance(memory, TensorSpec):
                raise SpecError(f"memory={memory!r}: expected an example tensor, or TensorSpec('memory', shape)")
            self.specs = (memory,)
            self.check(memory.example())

    @property
    def interface(self) -> Interface:
        """A decoder alone: memory to logits."""
        return Interface(OTHER, (Output("logits"),), self.bos_id, self.eos_id)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Memory → logits (N, max_length + 1, C)."""
        (memory,) = inputs
        self.check(memory)
        return self.read(memory)[0]

    def passes(self, memory: Tensor) -> int:
        """Number of decoder calls that decoding this memory takes; the steps in one graph count too."""
        with torch.no_grad():
            return self.read(memory)[1]

    def tokens(self, memory: Tensor) -> list[list[int]]:
        """The decoded ids of each row, up to and without its EOS."""
        with torch.no_grad():
            rows = self(memory).argmax(-1).tolist()
        return [row[: row.index(self.eos_id)] if self.eos_id in row else row for row in rows]

    def read(self, memory: Tensor) -> tuple[Tensor, int]:
        """Logits, and the number of decoder calls."""
        with eval_mode(self.source):
            module = self.join(self._graph_modules(self.source, memory))
            if self.method == "unrolled":
                return module(memory), self.steps
            logits, passes = module.read(memory)
            return logits, passes

    def check(self, memory: Tensor) -> None:
        """Check once, on the first memory that has rows, that the decoder keeps its protocol.

        Raises:
            SpecError: If a later token moves an earlier logit, or a state changes its shapes.
        """
        if self._checked or not len(memory):
            return
        with eval_mode(self.source), torch.no_grad():
            if self.protocol == "step":
                check_steps(self.source, memory, self.bos_id, self.eos_id)
            else:
                check_causality(self.source.logits, memory, self.steps, self.bos_id, self.eos_id)
        self._checked = True

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return self._graph_modules(source, self._memory_spec().example())

    def _graph_modules(self, source: nn.Module, memory: Tensor) -> dict[str, nn.Module]:
        if self.method == "fixed_point":
            return {"decode": LogitsGraph(source)}
        steps: Any = source if self.protocol == "step" else LogitsStep(source, self.steps)
        with torch.no_grad():
            layout = packed_layout(steps.initial_state(memory))
        start, step = PackedStart(steps), PackedStep(steps, layout)
        if self.method == "unrolled":
            return {"read": Unrolled(start, step, self.steps, self.bos_id)}
        return {"start": start, "step": step}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        memory = self._memory_spec()
        specs = {"decode": (TensorSpec("tokens", (self._batch(), self.steps), "int32"), memory), "read": (memory,)}
        if self.method == "stepwise":
            with eval_mode(self.source), torch.no_grad():
                state = self._graph_modules(self.source, memory.example())["start"](memory.example())
            token = TensorSpec("token", state.shape[:1], "int32")
            specs |= {
                "start": (memory,),
                "step": (token, TensorSpec("state", state.shape, state.dtype, fill=0), memory),
            }
        return specs

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Any:
        if self.method == "unrolled":
            return graphs["read"]
        if self.method == "fixed_point":
            return FixedPointReader(graphs["decode"], self.steps, self.bos_id, self.eos_id)
        return StepReader(graphs["start"], graphs["step"], self.steps, self.bos_id, self.eos_id)

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """The growing loop, all its steps."""
        (memory,) = inputs
        return growing_loop(source, memory, self.steps, self.bos_id)

    def meaningful(self, outputs: Tensor, inputs: Sequence[Tensor]) -> Tensor:
        """The logits, zero after each row's first EOS."""
        return end_at_eos(outputs, self.eos_id)

    def _memory_spec(self) -> TensorSpec:
        if not self.specs:
            raise SpecError(
                "the memory's shape is not known; to compile, "
                "pass memory=TensorSpec('memory', shape) to static_greedy_decoder"
            )
        return self.specs[0]

    def _batch(self) -> int:
        return self._memory_spec().shape[0]


def growing_loop(decoder: Any, memory: Tensor, steps: int, bos_id: int) -> Tensor:
    """The dynamic original: one position after the other, on a growing prefix or a carried state.

    Args:
        decoder: An object with `logits`, or with `step` and `initial_state`.
        memory: (N, ...) what it attends to.
        steps: How many positions.
        bos_id: The id that begins a sequence.

    Returns:
        Logits (N, steps, C).
    """
    tokens = torch.full((len(memory), 1), bos_id, dtype=torch.int32, device=memory.device)
    carried = hasattr(decoder, "step")
    state = decoder.initial_state(memory) if carried else None
    rows = []
    for _ in range(steps):
        if carried:
            logits, state = decoder.step(tokens[:, -1], state, memory)
        else:
            logits = decoder.logits(tokens, memory)[:, -1]
        rows.append(logits)
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True).to(torch.int32)], dim=1)
    return torch.stack(rows, dim=1)


def _choose_method(method: str, protocol: str) -> str:
    if method not in METHODS:
        raise OptionError(f"method={method!r}: expected one of {', '.join(map(repr, METHODS))}")
    if method == "fixed_point" and protocol == "step":
        raise OptionError(
            "method='fixed_point' computes all positions at once, which step(token, state, memory) cannot; "
            "give the decoder as logits(tokens, memory), or choose 'stepwise' or 'unrolled'"
        )
    return {"logits": "fixed_point", "step": "stepwise"}[protocol] if method == "auto" else method
