"""What the methods share: the graphs of encoder and decoder, and what goes around a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.specs import TensorSpec
from neuronkit.static.decoding import loops
from neuronkit.static.decoding.decoding import Decoding
from neuronkit.static.decoding.methods import Graphs, Parts
from neuronkit.static.ops import cumsum, length, tokens_of


class AllPositions(nn.Module):
    """A decoder's `logits` or `run` as a graph.

    Tokens (N, T) int32, the kind of pass (1,) int32 where there are several, and memory → logits (N, T, C), or tokens
    (N, T) int32 and probabilities (N, T).
    """

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.decoder = parts.decoder
        self.decoding = parts.decoding

    def forward(self, tokens: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        logits: Tensor = (self.decoder.run if self.decoding.takes_kind else self.decoder.logits)(tokens, *others)
        return tokens_of(logits) if self.decoding.gives_tokens else logits


class Finish(nn.Module):
    """The end of a graph that decodes: refinement, and tokens in place of logits with ``outputs="tokens"``."""

    triangle: Tensor

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.decoder = parts.decoder
        self.decoding = parts.decoding
        steps = parts.decoding.steps
        self.register_buffer("triangle", torch.ones(steps, steps).triu(), persistent=False)

    def forward(self, logits: Tensor, tokens: Tensor, memory: Any, bos: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Logits (N, T, C), their argmax (N, T) int32 and BOS (N, 1) → logits, or tokens and probabilities (N, T)."""
        decoding = self.decoding
        for i in range(decoding.refine_iters):
            tokens = logits.argmax(-1).to(torch.int32) if i else tokens
            logits = self.decoder.run(behind(bos, tokens), loops.REFINE, memory)
        if not decoding.gives_tokens:
            return logits
        return tokens_until_end(logits, decoding.ends, decoding.stops_at_eos, self.triangle.to(logits.device))

    def ended(self, tokens: Tensor) -> Tensor:
        """(N, T) bool, False up to and including the first EOS."""
        return ended(tokens, self.decoding.ends, self.triangle.to(tokens.device))


def tokens_until_end(
    logits: Tensor, ends: Sequence[int], stops_at_eos: bool = True, triangle: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (N, T, C) → tokens (N, T) int32 and probabilities (N, T), zero after the first EOS, if that is the end."""
    tokens, probabilities = tokens_of(logits)
    if not stops_at_eos:
        return tokens, probabilities
    after = ended(tokens, ends, triangle)
    return tokens.masked_fill(after, 0), probabilities.masked_fill(after, 0)


def behind(bos: Tensor, tokens: Tensor) -> Tensor:
    """A decoder's input from its predictions (N, T): BOS (N, 1), then all but the last."""
    return torch.cat([bos, tokens.split([length(tokens, 1) - 1, 1], dim=1)[0]], dim=1)


def ended(tokens: Tensor, ends: Sequence[int], triangle: Tensor | None = None) -> Tensor:
    """`loops.after_eos` in operators of a graph: (N, T) bool, False up to and including the first EOS."""
    is_eos = loops.is_end(tokens, list(ends)).to(torch.float32)
    return cumsum(is_eos, triangle) - is_eos > 0


def output_names(decoding: Decoding) -> dict[str, tuple[str, ...]]:
    """What the outputs of the methods' graphs are called."""
    results = tuple(output.name for output in decoding.named_outputs)
    step = ("token", "probability") if decoding.gives_tokens else results
    if decoding.prefix is not None or decoding.beams is not None:
        found = ("scores", "tokens", "beams") if decoding.beams else results
        entry = () if decoding.prefix is None else ("entry",)
        steps = [f"step_{length}" for length in decoding.caches] or ["step"]
        return {"encode": ("memory",), "start": ("context", "prefix"), **dict.fromkeys(steps, (*found, *entry))}
    return {
        "encode": ("memory",),
        "decode": results,
        "start": ("state",),
        "step": (*step, "state"),
        "fused": (*dict.fromkeys((*results, "tokens")), "settled"),
    }


def encode_module(parts: Parts) -> dict[str, nn.Module]:
    """The graph "encode", where there is an encoder."""
    return {} if parts.encoder is None else {"encode": parts.encoder}


def encode_specs(parts: Parts) -> dict[str, tuple[TensorSpec, ...]]:
    """Its inputs."""
    return {} if parts.encoder is None else {"encode": parts.specs}


def decode_module(parts: Parts) -> nn.Module:
    """The graph "decode": all positions at once."""
    return AllPositions(parts)


def decode_specs(parts: Parts) -> tuple[TensorSpec, ...]:
    """Its inputs: tokens, the kind of pass where there are several, and the memory."""
    tokens = TensorSpec("tokens", (parts.rows, parts.decoding.steps), "int32")
    kind = (TensorSpec("kind", (1,), "int32", fill=loops.CAUSAL),) if parts.decoding.takes_kind else ()
    return tokens, *kind, memory_spec(parts)


def memory_spec(parts: Parts) -> TensorSpec:
    """Spec of the memory: the encoder's output, or the input where there is no encoder."""
    return TensorSpec.of("memory", parts.memory()) if parts.encoder is not None else parts.specs[0]


def around(decoding: Decoding, graphs: Graphs, loop: nn.Module) -> nn.Module:
    """Encode, run a loop on the memory, and refine."""
    refine = loops.Pass(graphs["decode"], decoding, loops.REFINE) if decoding.refine_iters else None
    return loops.Decoder(graphs["encode"] if "encode" in graphs else nn.Identity(), loop, refine, decoding)
