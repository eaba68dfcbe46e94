"""Decoding: how the graphs of a decoder are run, as data that a manifest holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuronkit.interface import Output
from neuronkit.specs import TensorSpec

LOGITS, TOKENS = OUTPUTS = ("logits", "tokens")


def named_outputs(outputs: str) -> tuple[Output, ...]:
    """The outputs of a recogniser or decoder that gives "logits" or "tokens", as an interface names them."""
    return (Output("tokens"), Output("probabilities")) if outputs == TOKENS else (Output("logits"),)


@dataclass(frozen=True)
class Decoding:
    """How a decoder is run in fixed shapes: what its graphs and the loop around them are made of.

    Attributes:
        method: Name of the method.
        steps: T, the longest sequence in tokens, EOS counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        inputs: Number of the model's inputs: images, or tokens and their mask, or a memory.
        takes_kind: Whether the decoder makes passes of several kinds; see `neuronkit.static.decoding.protocols`.
        causal: Whether characters are decoded from those before them; otherwise a guess without context is all.
        refine_iters: Refinement passes after decoding.
        stops_at_eos: Whether what follows EOS has no meaning, and is zero.
        outputs: What comes out, "logits" or "tokens" with their probabilities.
        passes: Causal passes in the graph of method "fused".
        state: The packed state before the first step, where it is the same for every memory: its first entry is 1, the
            others 0. None where a graph computes it.
        prefix: How many entries of a cache come before BOS; None for a decoder without caches.
    """

    method: str
    steps: int
    bos_id: int
    eos_id: int
    inputs: int = 1
    takes_kind: bool = False
    causal: bool = True
    refine_iters: int = 0
    stops_at_eos: bool = True
    outputs: str = LOGITS
    # Of the demo's words, 0.35 to 0.55 % have not settled after so many, and 2.3 to 2.7 % after three.
    passes: int = 5
    state: TensorSpec | None = None
    prefix: int | None = None

    @property
    def gives_tokens(self) -> bool:
        """Whether tokens and probabilities come out in place of logits."""
        return self.outputs == TOKENS

    @property
    def named_outputs(self) -> tuple[Output, ...]:
        """What comes out, as an interface names it."""
        return named_outputs(self.outputs)

    @property
    def zero_after_end(self) -> bool:
        """Whether what comes out is zero after each row's first EOS."""
        return self.stops_at_eos and (self.gives_tokens or (self.causal and not self.refine_iters))

    @property
    def most_calls(self) -> int:
        """Calls of the graph of method "fused" after which every row is right."""
        # A pass settles one position at least, and one more finds that nothing has changed.
        return -(-(self.steps + 1) // self.passes)

    @property
    def passes_in_call(self) -> int:
        """Decoder passes in one call of the graph of method "fused", guess and refinement counted."""
        return int(self.takes_kind) + self.passes + self.refine_iters

    @property
    def entries(self) -> int:
        """Entries of a cache: of all positions but the last one, and at least 1."""
        return max(1, self.steps - 1 + (self.prefix or 0))

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        state = None if self.state is None else self.state.to_dict()
        return {"kind": "decoding", **dataclasses.asdict(self), "state": state}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Decoding:
        """Read what `to_dict` gave."""
        state = None if fields["state"] is None else TensorSpec.from_dict(fields["state"])
        # Earlier releases wrote none of these.
        given = {"outputs": LOGITS, "passes": cls.passes, "prefix": None, **fields, "state": state}
        return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls)})
