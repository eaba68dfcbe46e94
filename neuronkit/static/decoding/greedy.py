"""static_greedy_decoder: any greedy decoder in fixed shapes, exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks
from neuronkit.errors import SpecError
from neuronkit.interface import OTHER, Interface
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.decoding import LARGEST_WINDOW, LOGITS, OUTPUTS, Beams
from neuronkit.static.decoding.loops import until_eos
from neuronkit.static.decoding.methods import find_method
from neuronkit.static.decoding.model import DecodingModel
from neuronkit.static.decoding.protocols import as_module, check_caches, check_causality, check_steps
from neuronkit.static.original import eval_mode, failures_named
from neuronkit.tensors import dtype_name, tensor


def static_greedy_decoder(
    decoder: Any,
    *,
    max_length: int,
    bos_id: int,
    eos_id: int,
    memory: TensorSpec | Tensor | None = None,
    method: str = "auto",
    window: int | None = None,
    outputs: str = LOGITS,
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
            "stepwise" one position a call, "unrolled" all in one graph, "fused" several passes in one graph, which is
            called again for rows that have not settled, "windowed" a window of positions a call, for long outputs.
            "auto" takes "fixed_point" for the first protocol, whose every call computes all positions anyway, and
            "stepwise" for the second, which cannot compute them at once; compiled for a Neuron target, "fused" for the
            first. "windowed" needs a module that offers caches besides ``logits``, and "stepwise" uses them: an
            attribute ``prefix``, ``prefill(memory)`` and ``advance(tokens, position, cache, context)``, as
            `neuronkit.static.decoding.methods.stepwise` says.
        window: Positions of a call of method "windowed", 2 to 1024; None: 16.
        outputs: "logits", or "tokens": token ids and their probabilities.

    Returns:
        A static model: memory → logits (N, max_length + 1, C), right up to and including each row's first EOS; or
        tokens (N, max_length + 1) int32 and their probabilities, zero after it.

    Raises:
        OptionError: If the method does not exist, or the protocol cannot serve it.
        SpecError: If the decoder follows neither protocol, or is not causal; names the positions that moved. If its
            caches change what it gives. If an id is outside the vocabulary, or the memory has no dimension.

    Examples:
        >>> class Counting(torch.nn.Module):
        ...     def logits(self, tokens, memory):
        ...         return 9 * torch.nn.functional.one_hot((tokens + 1).clamp(max=4).long(), 5).float()
        >>> greedy = neuronkit.static_greedy_decoder(
        ...     Counting(), max_length=6, bos_id=0, eos_id=4, memory=TensorSpec("memory", (1, 2, 3))
        ... )
        >>> greedy(torch.zeros(1, 2, 3)).argmax(-1)[0, :4]
        tensor([1, 2, 3, 4])
    """
    return GreedyDecoder(
        decoder,
        max_length=max_length,
        bos_id=bos_id,
        eos_id=eos_id,
        memory=memory,
        method=method,
        window=window,
        outputs=outputs,
    )


class GreedyDecoder(DecodingModel):
    """A greedy decoder in fixed shapes, as `static_greedy_decoder` makes it: memory → logits (N, T, C), or tokens."""

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
        window: int | None = None,
        beams: Beams | None = None,
        outputs: str = LOGITS,
    ) -> None:
        if isinstance(memory, Tensor):
            memory = TensorSpec.of("memory", tensor("memory", memory))
        if memory is not None and not isinstance(memory, TensorSpec):
            raise SpecError(
                f"got memory={shown(memory)}; expected an example tensor or its spec; give TensorSpec('memory', shape)"
            )
        if memory is not None and not memory.shape:
            raise SpecError("got memory of shape (); expected rows, its first dimension; give (N, ...)")
        super().__init__(
            as_module(decoder),
            () if memory is None else (memory,),
            steps=checks.integer("max_length", max_length, 1, 1 << 14, error=SpecError) + 1,
            bos_id=checks.integer("bos_id", bos_id, 0, (1 << 31) - 1, error=SpecError),
            eos_id=checks.integer("eos_id", eos_id, 0, (1 << 31) - 1, error=SpecError),
            method=method,
            window=None if window is None else checks.integer("window", window, 2, LARGEST_WINDOW, error=SpecError),
            outputs=checks.choice("outputs", outputs, OUTPUTS),
            beams=beams,
        )
        self._checked = False
        if memory is not None:
            self.check(memory.example())

    @property
    def interface(self) -> Interface:
        """A decoder alone: memory to logits."""
        return Interface(OTHER, self.decoding.named_outputs, self.bos_id, self.eos_id)

    def decoder(self, source: nn.Module) -> nn.Module:
        return source

    def memory_example(self) -> Tensor:
        if not self.specs:
            raise SpecError(
                "got no memory; expected its shape, which a graph needs; pass memory=TensorSpec('memory', shape) to "
                "static_greedy_decoder"
            )
        return self.specs[0].example()

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        self.memory_example()
        return super().graph_specs()

    def tokens(self, memory: Tensor) -> list[list[int]]:
        """The decoded ids of each row, up to and without its EOS.

        Raises:
            SpecError: If the decoder does not take the memory.
        """
        with torch.no_grad():
            return until_eos(self(memory), self.eos_id)

    def forward(self, *inputs: Tensor) -> Any:
        """Memory → logits (N, max_length + 1, C), or tokens and probabilities (N, max_length + 1).

        Raises:
            SpecError: If the decoder does not take the memory, or the decoder does not keep its protocol.
        """
        return self.read(*inputs)[0]

    def read(self, *inputs: Tensor) -> tuple[Any, int]:
        """The outputs of `forward`, and the number of decoder calls.

        Raises:
            SpecError: If the decoder does not take the memory, or the decoder does not keep its protocol.
        """
        if len(inputs) != 1:
            raise SpecError(f"got {len(inputs)} inputs; expected one, the memory; give that")
        memory = tensor("memory", inputs[0])
        if memory.dim() == 0:
            raise SpecError("memory: got () entries; expected rows, its first dimension; give (N, ...)")
        given = f"memory {tuple(memory.shape)} {dtype_name(memory.dtype)}"
        with failures_named(type(self.source).__name__, given), eval_mode(self.source):
            self.check(memory)
            parts = self.parts(self.source, lambda: memory)
            return self.run_joined(self.join(find_method(self.method).modules(parts)), memory)

    def check(self, memory: Tensor) -> None:
        """Check once, on the first memory that has rows, that the decoder keeps its protocol.

        Raises:
            SpecError: If a later token moves an earlier logit, or a state changes its shapes.
        """
        if self._checked or not len(memory):
            return
        with eval_mode(self.source), torch.no_grad():
            if hasattr(self.source, "step"):
                check_steps(self.source, memory, self.bos_id, self.eos_id)
            else:
                self.classes = check_causality(self.source.logits, memory, self.steps, self.bos_id, self.eos_id)
            if self.decoding.prefix is not None:
                check_caches(self.source, memory, self.decoding)
        self._checked = True

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Tensor:
        """The growing loop, all its steps."""
        (memory,) = inputs
        return growing_loop(source, memory, self.steps, self.bos_id)


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
