"""What the methods share: the graphs of encoder and decoder, and what goes around a loop."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Parts


class AllPositions(nn.Module):
    """A decoder's `logits` as a graph: tokens (N, T) int32, memory → logits (N, T, C)."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decoder.logits(tokens, memory)


class AllKinds(nn.Module):
    """A decoder's `run` as a graph: tokens (N, T) int32, kind (1,) int32, memory → logits (N, T, C)."""

    def __init__(self, decoder: Any) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens: Tensor, kind: Tensor, memory: Tensor) -> Tensor:
        return self.decoder.run(tokens, kind, memory)


class OneKind(nn.Module):
    """A decoder's `run` of one kind, within a larger graph: tokens (N, T) int32, memory → logits (N, T, C)."""

    def __init__(self, decoder: Any, kind: int) -> None:
        super().__init__()
        self.decoder = decoder
        self.kind = kind

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        return self.decoder.run(tokens, self.kind, memory)


def encode_module(parts: Parts) -> dict[str, nn.Module]:
    """The graph "encode", where there is an encoder."""
    return {} if parts.encoder is None else {"encode": parts.encoder}


def encode_specs(parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
    """Its inputs."""
    return {} if parts.encoder is None else {"encode": parts.specs}


def decode_module(parts: Parts) -> nn.Module:
    """The graph "decode": all positions at once."""
    return AllKinds(parts.decoder) if parts.decoding.takes_kind else AllPositions(parts.decoder)


def decode_specs(parts: Parts) -> tuple[TensorSpec, ...]:
    """Its inputs: tokens, the kind of pass where there are several, and the memory."""
    tokens = TensorSpec("tokens", (parts.rows, parts.decoding.steps), "int32")
    kind = (TensorSpec("kind", (1,), "int32", fill=loops.CAUSAL),) if parts.decoding.takes_kind else ()
    return tokens, *kind, memory_spec(parts)


def memory_spec(parts: Parts) -> TensorSpec:
    """What the encoder gives, or the input that is the memory itself."""
    return TensorSpec.of("memory", parts.memory()) if parts.encoder is not None else parts.specs[0]


def around(decoding: Decoding, graphs: Graphs, loop: nn.Module) -> nn.Module:
    """Encode, run a loop on the memory, and refine."""
    refine: nn.Module = loops.KeepLogits()
    if decoding.refine_iters:
        refine = loops.Refine(loops.PassOfKind(graphs["decode"], loops.REFINE), decoding.bos_id)
    joined = loops.Decoder if decoding.inputs == 1 else loops.MaskedDecoder
    encode = graphs["encode"] if "encode" in graphs else nn.Identity()
    return joined(encode, loop, refine, decoding.refine_iters)
