"""Decoding: how the graphs of a decoder are run, as data that a manifest holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from neuronkit import checks
from neuronkit.interface import Output
from neuronkit.specs import TensorSpec

LOGITS, TOKENS = OUTPUTS = ("logits", "tokens")
# Positions of a call.
LARGEST_WINDOW = 1024
_LARGEST_ID = (1 << 31) - 1
# Most passes: a larger number would look like a hang.
MOST_REFINEMENTS = 1000
# Of the numbers of a `Decoding`: the least and the greatest.
_WITHIN = (
    *(("steps", 1, 1 << 20), ("bos_id", 0, _LARGEST_ID), ("eos_id", 0, _LARGEST_ID), ("inputs", 1, 1 << 10)),
    *(("refine_iters", 0, MOST_REFINEMENTS), ("passes", 1, 1 << 20), ("window", 0, LARGEST_WINDOW)),
)


def named_outputs(outputs: str) -> tuple[Output, ...]:
    """The outputs of a recogniser or decoder that gives "logits" or "tokens", as an interface names them."""
    return (Output("tokens"), Output("probabilities")) if outputs == TOKENS else (Output("logits"),)


@dataclass(frozen=True)
class Beams:
    """Settings of a beam search, as `generate` of transformers calls them.

    Attributes:
        num_beams: k, beams of a row.
        eos_ids: The ids that end a beam.
        length_penalty: Scores are divided by the length to this power.
        early_stopping: Whether a row ends with its k-th finished beam; "never": not before no beam can become better.
        return_sequences: R, how many of the best come out.
        fill_id: What follows the end.
        prompt: Ids after BOS that every beam begins with.
    """

    num_beams: int
    eos_ids: tuple[int, ...]
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    return_sequences: int = 1
    fill_id: int = 0
    prompt: tuple[int, ...] = ()

    @property
    def candidates(self) -> int:
        """K, so many that k of them go on, though others end."""
        return max(2, 1 + len(self.eos_ids)) * self.num_beams


@dataclass(frozen=True)
class Decoding:
    """How a decoder is run in fixed shapes: what its graphs and the loop around them are made of.

    Attributes:
        method: Name of the method.
        steps: T, the longest sequence in tokens, EOS counted.
        bos_id: The id that begins a sequence.
        eos_id: The id that ends it.
        further_ends: Other ids that do.
        inputs: Number of the model's inputs: images, or tokens and their mask, or a memory.
        takes_kind: Whether the decoder makes passes of several kinds; see `neuronkit.static.decoding.protocols`.
        causal: Whether characters are decoded from those before them; otherwise a guess without context is all.
        refine_iters: Refinement passes after decoding.
        stops_at_eos: Whether what follows EOS has no meaning, and is zero.
        outputs: What comes out, "logits" or "tokens" with their probabilities.
        passes: Causal passes in the graph of method "fused".
        state: The packed state before the first step, where it is the same for every memory: its first entry is 1, the
            others 0. None where a graph computes it.
        beams: How beams are searched; None decodes greedily.
        prefix: How many entries of a cache come before BOS; None for a decoder without caches.
        looks_back: Whether a step with caches is given all tokens from BOS on, for rules that look at them.
        window: Positions of a call with caches; 0 leaves it to the method.
        caches: The lengths of caches that there are graphs for, where a method has several.
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
    beams: Beams | None = None
    further_ends: tuple[int, ...] = ()
    looks_back: bool = False
    window: int = 0
    caches: tuple[int, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """All ids that end a sequence."""
        return (self.eos_id, *self.further_ends)

    def __post_init__(self) -> None:
        for name, low, high in _WITHIN:
            checks.integer(name, getattr(self, name), low, high)
        for name in ("takes_kind", "causal", "stops_at_eos"):
            checks.flag(name, getattr(self, name))
        checks.choice("outputs", self.outputs, OUTPUTS)

    @property
    def gives_tokens(self) -> bool:
        """Whether tokens and probabilities come out in place of logits."""
        return self.outputs == TOKENS

    @property
    def named_outputs(self) -> tuple[Output, ...]:
        """What comes out, as an interface names it."""
        if self.beams is not None:
            return Output("tokens"), Output("scores")
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
        later = {"outputs": LOGITS, "passes": cls.passes, "prefix": None, "beams": None, "looks_back": False}
        given = {**later, "further_ends": (), "window": 0, "caches": (), **fields, "state": state}
        given |= {name: tuple(given[name]) for name in ("further_ends", "caches")}
        if given["beams"] is not None:
            lists = {name: tuple(given["beams"][name]) for name in ("eos_ids", "prompt")}
            given["beams"] = Beams(**{**given["beams"], **lists})
        return cls(**{field.name: given[field.name] for field in dataclasses.fields(cls)})
